#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/container.h"

// Both halves of a container's start. The first half runs in the supervisor up to execve and may only use what is safe in a
// child of a process with threads; the second half begins afresh as `sluice run-container`, which is process 1 in there.
namespace runner {
namespace {

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

int fail(const char* what) {
  std::fprintf(stderr, "sluice: container cannot start: %s: %s\n", what, std::strerror(errno));
  return 125;
}

struct Options {
  std::string netns, hosts, resolv, host_name, folder = "/", bin;
  std::vector<std::pair<std::string, std::string>> binds;
  unsigned uid = 1000, gid = 1000;
  bool drop_all = false, no_new_privileges = false;
  std::vector<std::string> keep;
  char** command = nullptr;
};

Options parse(int argc, char** argv) {
  Options out;
  const auto number = [](const char* text) { return static_cast<unsigned>(std::strtoul(text, nullptr, 10)); };
  for (int i = 0; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--") {
      out.command = argv + i + 1;
      break;
    }
    if (flag == "--drop-all")
      out.drop_all = true;
    else if (flag == "--no-new-privileges")
      out.no_new_privileges = true;
    else if (i + 1 >= argc)
      break;
    else if (flag == "--netns")
      out.netns = argv[++i];
    else if (flag == "--hosts")
      out.hosts = argv[++i];
    else if (flag == "--resolv")
      out.resolv = argv[++i];
    else if (flag == "--host-name")
      out.host_name = argv[++i];
    else if (flag == "--folder")
      out.folder = argv[++i];
    else if (flag == "--bin")
      out.bin = argv[++i];
    else if (flag == "--uid")
      out.uid = number(argv[++i]);
    else if (flag == "--gid")
      out.gid = number(argv[++i]);
    else if (flag == "--keep")
      out.keep.emplace_back(argv[++i]);
    else if (flag == "--bind" && i + 2 < argc) {
      out.binds.emplace_back(argv[i + 1], argv[i + 2]);
      i += 2;
    }
  }
  return out;
}

const char* enter(const Options& options) {
  const int netns = ::open(("/run/netns/" + options.netns).c_str(), O_RDONLY | O_CLOEXEC);
  if (netns < 0 || ::setns(netns, CLONE_NEWNET) != 0) return "network namespace";
  ::close(netns);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "private mounts";
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) return "/proc";
  for (const auto& [from, to] : options.binds)
    if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) return "bind mount";
  if (::mount(options.hosts.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) != 0) return "/etc/hosts";
  if (::mount(options.resolv.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) return "/etc/resolv.conf";
  if (::sethostname(options.host_name.data(), std::min<size_t>(options.host_name.size(), 63)) != 0) return "host name";
  return nullptr;
}

int capability_number(std::string_view name) {
  static constexpr const char* kNames[] = {
      "CHOWN",        "DAC_OVERRIDE",    "DAC_READ_SEARCH",  "FOWNER",        "FSETID",    "KILL",        "SETGID",        "SETUID",
      "SETPCAP",      "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",     "IPC_LOCK",      "IPC_OWNER",
      "SYS_MODULE",   "SYS_RAWIO",       "SYS_CHROOT",       "SYS_PTRACE",    "SYS_PACCT", "SYS_ADMIN",   "SYS_BOOT",      "SYS_NICE",
      "SYS_RESOURCE", "SYS_TIME",        "SYS_TTY_CONFIG",   "MKNOD",         "LEASE",     "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"};
  for (int i = 0; i < static_cast<int>(std::size(kNames)); ++i)
    if (name == kNames[i]) return i;
  return -1;
}

// The set a container runtime leaves when nothing is said; a pod must not be able to do more here than in a cluster.
bool wanted(const Options& options, int capability) {
  for (const auto& name : options.keep)
    if (capability_number(name) == capability) return true;
  if (options.drop_all) return false;
  for (const char* name : {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE",
                           "NET_RAW", "SYS_CHROOT", "SETFCAP"})
    if (capability_number(name) == capability) return true;
  return false;
}

const char* lower_privileges(const Options& options) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  for (int capability = 0; capability <= 63; ++capability) {
    if (!wanted(options, capability)) {
      if (::prctl(PR_CAPBSET_DROP, capability) != 0 && errno != EINVAL) return "capabilities";
    } else {
      sets[capability / 32].permitted |= 1u << (capability % 32);
    }
  }
  if (::setgroups(0, nullptr) != 0 || ::setgid(options.gid) != 0 || ::setuid(options.uid) != 0) return "user and group";
  if (options.uid == 0) {
    sets[0].effective = sets[0].permitted;
    sets[1].effective = sets[1].permitted;
    if (::syscall(SYS_capset, &header, sets) != 0) return "capabilities";
  }
  if (options.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "no new privileges";
  return nullptr;
}

[[noreturn]] void become(const Options& options) {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);  // ours is ignored, and that would be inherited
  const char* what = lower_privileges(options);
  if (!what && ::chdir(options.folder.c_str()) != 0) what = options.folder.c_str();
  if (what) ::_exit(fail(what));
  ::setenv("PATH", (options.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").c_str(), 1);
  ::execvp(options.command[0], options.command);
  const int why = errno;
  std::fprintf(
      stderr, "sluice: %s: %s%s\n", options.command[0], std::strerror(why),
      why == ENOENT ? " (images are not run here: the program must exist on this machine, or leave `command` out for the echo app)" : "");
  ::_exit(why == ENOENT ? 127 : 126);
}

// Process 1: hands signals on, reaps whoever is left to it, ends as the container's own process ended.
int attend(pid_t app, const sigset_t& signals) {
  while (true) {
    siginfo_t info{};
    if (::sigwaitinfo(&signals, &info) < 0) continue;
    if (info.si_signo != SIGCHLD) {
      ::kill(app, info.si_signo);
      continue;
    }
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == app) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

}  // namespace

pid_t start_container(const ContainerSpec& spec, const Surroundings& around, const std::string& program) {
  std::vector<std::string> words{program,       "run-container",         "--netns",  around.netns,
                                 "--hosts",     around.hosts_file,       "--resolv", around.resolv_file,
                                 "--host-name", around.host_name,        "--folder", spec.working_folder,
                                 "--bin",       around.bin_folder,       "--uid",    std::to_string(spec.uid),
                                 "--gid",       std::to_string(spec.gid)};
  if (spec.drop_all) words.emplace_back("--drop-all");
  if (spec.no_new_privileges) words.emplace_back("--no-new-privileges");
  for (const auto& name : spec.capabilities) words.insert(words.end(), {"--keep", name});
  for (const auto& [from, to] : around.binds) words.insert(words.end(), {"--bind", from, to});
  words.emplace_back("--");
  words.insert(words.end(), spec.command.begin(), spec.command.end());
  std::vector<std::string> variables = spec.environment;
  const auto argv = pointers(words);
  const auto envp = pointers(variables);
  const int log = ::open(around.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) return -1;
  // The app may open /dev/stdout by name, which needs its own right to the file.
  if (::fchown(log, spec.uid, spec.gid) != 0) {
    ::close(log);
    return -1;
  }
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  sigset_t all, before;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, &before);
  constexpr unsigned long kNamespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone, kNamespaces | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(nothing, 0);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::close(log);
  ::close(nothing);
  return pid;
}

int container_main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (!options.command || !options.command[0]) return 2;
  if (const char* what = enter(options)) return fail(what);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_SETMASK, &signals, nullptr);
  const pid_t app = ::fork();
  if (app < 0) return fail("fork");
  if (app == 0) become(options);
  return attend(app, signals);
}

}  // namespace runner
