#include "init/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "init/lock.h"

namespace init {
namespace {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept {
    reset();
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { reset(); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

std::string failure(std::string_view what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

// The input as a file in memory: the child can read at its own pace and no write can block or meet a closed pipe.
std::expected<Fd, std::string> input_file(std::string_view text) {
  Fd fd(::memfd_create("rules", MFD_CLOEXEC));
  if (fd.get() < 0) return std::unexpected(failure("memfd_create"));
  while (!text.empty()) {
    const auto n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::unexpected(failure("cannot store the rules"));
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return std::unexpected(failure("lseek"));
  return fd;
}

struct Pipe {
  Fd read, write;
};
std::expected<Pipe, std::string> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(failure("pipe"));
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

using Clock = std::chrono::steady_clock;

int milliseconds_to(Clock::time_point limit) {
  return static_cast<int>(
      std::max<std::chrono::milliseconds::rep>(std::chrono::ceil<std::chrono::milliseconds>(limit - Clock::now()).count(), 0));
}

// Takes what there is; the end of the pipe closes it.
void read_some(Fd& fd, std::string& into) {
  char buffer[16384];
  const auto n = ::read(fd.get(), buffer, sizeof buffer);
  if (n > 0)
    into.append(buffer, static_cast<size_t>(n));
  else if (n == 0 || errno != EINTR)
    fd.reset();
}

// Until the program has ended: what is in the pipes then is all that it wrote, whoever else may hold them open. Without a pidfd
// (kernels before 5.3) until both pipes are closed. False: it is still there at `limit`.
bool read_both(Fd& out, Fd& err, const Fd& process, Finished& into, Clock::time_point limit) {
  while (out.get() >= 0 || err.get() >= 0) {
    pollfd waits[] = {{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}, {process.get(), POLLIN, 0}};  // poll skips negative descriptors
    const int ready = ::poll(waits, 3, milliseconds_to(limit));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    if (waits[0].revents) read_some(out, into.out);
    if (waits[1].revents) read_some(err, into.err);
    if (waits[2].revents && !waits[0].revents && !waits[1].revents) return true;
  }
  pollfd wait{process.get(), POLLIN, 0};
  while (process.get() >= 0) {
    const int ready = ::poll(&wait, 1, milliseconds_to(limit));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
  return true;
}

// The status out of waitpid; -1: it is still there at `limit`.
int status_of(pid_t pid, bool ended, Clock::time_point limit) {
  int status = 0;
  while (true) {
    const pid_t got = ::waitpid(pid, &status, ended ? 0 : WNOHANG);
    if (got == pid || (got < 0 && errno != EINTR)) return got == pid ? status : -1;
    if (ended || got < 0) continue;
    if (Clock::now() >= limit) return -1;
    ::poll(nullptr, 0, 1);  // only without a pidfd; the pipes are closed, so it is about to end
  }
}

std::vector<char*> pointers(std::span<const std::string> texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));  // execve does not write to them
  out.push_back(nullptr);
  return out;
}

}  // namespace

std::string find_program(std::string_view name) {
  for (auto rest = kPath; !rest.empty();) {
    const auto folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    auto path = fmt::format("{}/{}", folder, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

std::expected<Finished, std::string> run_program(const std::string& path, std::span<const std::string> arguments,
                                                 std::span<const std::string> environment, std::string_view input,
                                                 std::chrono::milliseconds limit) {
  auto in = input_file(input);
  if (!in) return std::unexpected(in.error());
  auto out = make_pipe(), err = make_pipe();
  if (!out || !err) return std::unexpected(out ? err.error() : out.error());

  std::vector<std::string> all{path};
  all.insert(all.end(), arguments.begin(), arguments.end());
  auto argv = pointers(all), envp = pointers(environment);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in->get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out->write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err->write.get(), 2);
  const int lock = Lock::descriptor();  // above 2
  if (lock >= 0) posix_spawn_file_actions_adddup2(&actions, lock, 3);
  posix_spawn_file_actions_addclosefrom_np(&actions, lock >= 0 ? 4 : 3);
  posix_spawnattr_init(&attributes);
  sigset_t none, all_signals;
  sigemptyset(&none);
  sigfillset(&all_signals);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all_signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, path.c_str(), &actions, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) return std::unexpected(fmt::format("{} cannot be started: {}", path, std::strerror(error)));

  out->write.reset();
  err->write.reset();
  const auto until = Clock::now() + limit;
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  Finished done;
  const bool in_time = read_both(out->read, err->read, process, done, until);
  const int status = in_time ? status_of(pid, process.get() >= 0, until) : -1;
  if (status < 0) {
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return std::unexpected(fmt::format("{} did not end within {} ms and was killed", path, limit.count()));
  }
  done.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return done;
}

}  // namespace init
