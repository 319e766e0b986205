#include "runner/command.h"

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace runner {
namespace {

struct Pipe {
  int ends[2]{-1, -1};
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) ends[0] = ends[1] = -1;
  }
  Pipe(const Pipe&) = delete;
  ~Pipe() {
    shut(0);
    shut(1);
  }
  void shut(int which) {
    if (ends[which] >= 0) ::close(ends[which]);
    ends[which] = -1;
  }
};

// Feeds and drains all three at once: a program that writes much before it has read everything must not lock both up.
void exchange(Pipe& in, Pipe& out, Pipe& err, std::string_view input, Finished& finished) {
  if (input.empty()) in.shut(1);
  char buffer[16384];
  while (out.ends[0] >= 0 || err.ends[0] >= 0) {
    pollfd fds[3]{{in.ends[1], POLLOUT, 0}, {out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (fds[0].revents) {
      const ssize_t sent = ::write(in.ends[1], input.data(), input.size());
      if (sent > 0) input.remove_prefix(static_cast<size_t>(sent));
      if (sent < 0 || input.empty()) in.shut(1);
    }
    const auto drain = [&](Pipe& pipe, short events, std::string& text) {
      if (!events) return;
      const ssize_t got = ::read(pipe.ends[0], buffer, sizeof buffer);
      if (got > 0)
        text.append(buffer, static_cast<size_t>(got));
      else
        pipe.shut(0);
    };
    drain(out, fds[1].revents, finished.out);
    drain(err, fds[2].revents, finished.err);
  }
}

}  // namespace

std::string find_program(std::string_view name) {
  if (name.starts_with('/')) return ::access(std::string(name).c_str(), X_OK) == 0 ? std::string(name) : std::string{};
  for (const char* folder : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"})
    if (const std::string path = folder + std::string(name); ::access(path.c_str(), X_OK) == 0) return path;
  return {};
}

Finished run(const std::vector<std::string>& argv, std::string_view input) {
  Finished finished;
  const std::string program = argv.empty() ? std::string{} : find_program(argv[0]);
  if (program.empty()) {
    finished.status = 127;
    finished.err = (argv.empty() ? std::string("nothing") : argv[0]) + " is not installed";
    return finished;
  }
  std::vector<char*> words;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  Pipe in, out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err.ends[1], 2);
  // The supervisor blocks and handles signals; its children start with none of that.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* environment[]{path, nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, words.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    finished.status = 127;
    finished.err = program + " could not be started";
    return finished;
  }
  in.shut(0);
  out.shut(1);
  err.shut(1);
  exchange(in, out, err, input, finished);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

}  // namespace runner
