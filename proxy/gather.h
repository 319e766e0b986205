#pragma once

#include <coroutine>
#include <functional>
#include <span>
#include <vector>

#include "net/worker.h"
#include "proxy/worker_state.h"

namespace proxy {

// Asks every worker a question on its own thread and resumes on `home` when all have answered. Lives in the caller's frame;
// the workers must go on running until then.
template <class T> class Gather {
 public:
  using Ask = std::function<T(WorkerState&)>;
  Gather(net::Worker& home, std::span<net::Worker* const> workers, Ask ask)
      : home_(home), workers_(workers), ask_(std::move(ask)), answers_(workers.size()), left_(workers.size()) {}
  Gather(const Gather&) = delete;
  bool await_ready() const noexcept { return workers_.empty(); }
  void await_suspend(std::coroutine_handle<> h) {
    waiter_ = h;
    for (size_t i = 0; i < workers_.size(); ++i)
      workers_[i]->post([this, i] {
        T answer = ask_(state_of(*workers_[i]));
        home_.post([this, i, answer = std::move(answer)]() mutable {
          answers_[i] = std::move(answer);
          if (--left_ == 0) waiter_.resume();
        });
      });
  }
  std::vector<T> await_resume() { return std::move(answers_); }

 private:
  net::Worker& home_;
  std::span<net::Worker* const> workers_;
  Ask ask_;
  std::vector<T> answers_;
  size_t left_;
  std::coroutine_handle<> waiter_;
};

}  // namespace proxy
