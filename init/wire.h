#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

namespace init {

template <class T>
T read_as(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The bytes of one attribute, in whatever order they come; empty when it is not there.
std::span<const char> attribute(std::span<const char> all, uint16_t wanted);
// The same as a number of its size in the kernel's order of bytes; 0 when it is not there.
template <class T>
T number_in(std::span<const char> all, uint16_t wanted) {
  const auto found = attribute(all, wanted);
  return found.size() >= sizeof(T) ? read_as<T>(found.data()) : T{};
}

// A question to the kernel: a header of its protocol, then attributes.
class Message {
 public:
  template <class Header>
  Message(uint16_t type, uint16_t flags, const Header& header) : Message(type, flags, &header, sizeof header) {}
  void add(uint16_t type, const void* data, size_t size);
  void add(uint16_t type, uint32_t value) { add(type, &value, sizeof value); }
  // What `inside` adds stands in an attribute of its own.
  template <class Inside>
  void nest(uint16_t type, Inside inside) {
    constexpr uint16_t kNested = 1 << 15;  // NLA_F_NESTED
    const auto at = open(static_cast<uint16_t>(type | kNested));
    inside();
    close(at);
  }

 private:
  friend class Wire;
  Message(uint16_t type, uint16_t flags, const void* header, size_t size);
  size_t open(uint16_t type);
  void close(size_t at);
  void flag(uint16_t flags);
  std::span<const char> finish(uint32_t sequence);

  std::vector<char> bytes_;
};

// What a datagram of the kernel's answer says about the whole of it.
struct Reply {
  bool over = false;     // nothing comes behind it
  bool changed = false;  // what is listed changed meanwhile, so something may be missing
  int error = 0;         // errno
};
// Answers to other questions than number `sequence` are skipped; `each` as in Wire::dump.
Reply read_reply(std::span<const char> datagram, uint32_t sequence, const std::function<void(std::span<const char>)>& each);

// A netlink socket in the network namespace in which it was opened. Every call is one exchange that waits for the answer.
class Wire {
 public:
  explicit Wire(int protocol);  // NETLINK_ROUTE, …
  Wire(Wire&& other) noexcept;
  Wire& operator=(Wire&&) = delete;
  ~Wire();
  int fd() const noexcept { return fd_; }
  int error() const noexcept { return fd_ < 0 ? -fd_ : 0; }  // why it could not be opened

  // 0 or errno.
  int request(Message& message);
  // The same; `each` gets what every object holds behind its netlink header. A list that changes while it is told is asked for
  // again, so an object may come more than once; EAGAIN when it changes all the time.
  int dump(Message& message, const std::function<void(std::span<const char>)>& each);

 private:
  Reply exchange(Message& message, const std::function<void(std::span<const char>)>& each);

  int fd_;
  uint32_t sequence_ = 0;
};

}  // namespace init
