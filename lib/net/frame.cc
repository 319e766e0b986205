#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "net/checks.h"
#include "net/task.h"

// Nothing but these two functions stands in this file, so that a test program that counts frames puts its own in their place
// and the linker leaves this one out.
namespace net {
namespace {

// One list per 16 bytes (malloc's own step) up to 2 KiB, which holds every frame of the data path; bigger ones are rare and go to malloc. A list
// keeps at most 1,024 frames, so that a burst of connections does not pin its memory for ever.
constexpr size_t kStep = 16, kClasses = 128;
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

}  // namespace net
