#include "net/task.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "net/checks.h"

namespace net {
namespace {

// One list per 64 bytes up to 2 KiB, which holds every frame of the data path; bigger ones are rare and go to malloc. A list
// keeps at most 1,024 frames, so that a burst of connections does not pin its memory for ever.
constexpr size_t kStep = 64, kClasses = 32;
constexpr uint32_t kKept = 1024;

struct Free {
  Free* next;
};
struct FreeLists {
  struct List {
    Free* first = nullptr;
    uint32_t length = 0;
  };
  std::array<List, kClasses> lists;
  bool gone = false;                   // the thread is ending: statics that own tasks may still free frames afterwards
  ~FreeLists() {
    gone = true;
    for (List& list : lists) {
      while (Free* frame = list.first) {
        list.first = frame->next;
        std::free(frame);
      }
    }
  }
};
thread_local FreeLists free_lists;

size_t class_of(size_t size) noexcept { return (size - 1) / kStep; }

}  // namespace

void* allocate_frame(size_t size) {
  const size_t index = class_of(size);
  const bool pooled = !kSanitized && index < kClasses;
  if (pooled) {
    auto& list = free_lists.lists[index];
    if (Free* frame = list.first) {
      list.first = frame->next;
      --list.length;
      return frame;
    }
  }
  void* frame = std::malloc(pooled ? (index + 1) * kStep : size);
  if (!frame) throw std::bad_alloc();
  return frame;
}

void free_frame(void* frame, size_t size) noexcept {
  const size_t index = class_of(size);
  if (kSanitized || index >= kClasses || free_lists.gone || free_lists.lists[index].length >= kKept) {
    std::free(frame);
    return;
  }
  auto& list = free_lists.lists[index];
  list.first = new (frame) Free{list.first};
  ++list.length;
}

std::coroutine_handle<> Both::one_ended(void* self) noexcept {
  Both& both = *static_cast<Both*>(self);
  return --both.left_ == 0 && !both.starting_ ? both.parent_ : std::noop_coroutine();
}

bool Both::await_suspend(std::coroutine_handle<> parent) {
  parent_ = parent;
  if (!a_.start({&one_ended, this})) --left_;
  if (!b_.start({&one_ended, this})) --left_;
  starting_ = false;
  return left_ > 0;
}

}  // namespace net
