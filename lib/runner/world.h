#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runner/state.h"

namespace runner {

// A mesh on this machine: what `sluice up` runs. The supervisor is single-threaded; only stop(), pods() and idle callbacks
// cross threads.
class World {
 public:
  struct Options {
    std::string folder;                           // the user's manifests, watched
    std::string name;                             // of the world; empty: the usual one
    std::string program;                          // this `sluice`; the other programs lie beside it
    std::function<void(const std::string&)> say;  // one line for people; called on the supervisor's thread
  };
  explicit World(Options options);
  ~World();  // everything is removed

  // Empty, or why the world cannot be built here (one line that says what to do). Blocks the signals that run() takes.
  std::string start();
  // Serves until SIGINT, SIGTERM, SIGHUP or stop(). `settled` is called once, when every pod is ready. With a `patience` it
  // gives up when that has not happened by then, and says who is missing.
  void run(std::function<void()> settled, std::chrono::milliseconds patience = {});
  void stop() noexcept;   // any thread
  Record record() const;  // any thread: a copy of what is there now

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner
