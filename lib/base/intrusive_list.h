#pragma once

#include <cassert>
#include <cstddef>

namespace base {

// A doubly linked list of objects that carry their own link: insert and remove are O(1) and allocate nothing. An object is on
// at most one list per link and takes itself off when it dies.
class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { unlink(); }
  bool linked() const noexcept { return next_ != nullptr; }
  void unlink() noexcept {
    if (!next_) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <class T> friend class IntrusiveList;
  void insert_before(ListLink& at) noexcept {
    assert(!linked());
    prev_ = at.prev_;
    next_ = &at;
    prev_->next_ = this;
    at.prev_ = this;
  }
  ListLink* prev_ = nullptr;
  ListLink* next_ = nullptr;
};

// T derives from ListLink. The list does not own. Walking: `for (T* t = l.front(); t; t = l.next(*t))`; whoever may remove t
// in the body takes next() first.
template <class T> class IntrusiveList {
 public:
  IntrusiveList() noexcept { head_.prev_ = head_.next_ = &head_; }
  ~IntrusiveList() {
    while (T* first = front()) static_cast<ListLink*>(first)->unlink();
    head_.prev_ = head_.next_ = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  bool empty() const noexcept { return head_.next_ == &head_; }
  void push_back(T& item) noexcept { static_cast<ListLink&>(item).insert_before(head_); }
  void push_front(T& item) noexcept { static_cast<ListLink&>(item).insert_before(*head_.next_); }
  T* front() const noexcept { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  T* back() const noexcept { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  T* next(T& item) const noexcept {
    ListLink* link = static_cast<ListLink&>(item).next_;
    return link == &head_ ? nullptr : static_cast<T*>(link);
  }
  T* pop_front() noexcept {
    T* first = front();
    if (first) static_cast<ListLink*>(first)->unlink();
    return first;
  }

 private:
  ListLink head_;
};

}  // namespace base
