#include "init/wire.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace init {

std::span<const char> attribute(std::span<const char> all, uint16_t wanted) {
  while (all.size() >= sizeof(nlattr)) {
    const auto head = read_as<nlattr>(all.data());
    if (head.nla_len < sizeof head || head.nla_len > all.size()) return {};
    if ((head.nla_type & NLA_TYPE_MASK) == wanted) return all.subspan(NLA_HDRLEN, head.nla_len - NLA_HDRLEN);
    all = all.subspan(std::min<size_t>(NLA_ALIGN(head.nla_len), all.size()));
  }
  return {};
}

Message::Message(uint16_t type, uint16_t flags, const void* header, size_t size) : bytes_(NLMSG_LENGTH(size)) {
  const nlmsghdr head{
      .nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST), .nlmsg_seq = 0, .nlmsg_pid = 0};
  std::memcpy(bytes_.data(), &head, sizeof head);
  std::memcpy(bytes_.data() + NLMSG_HDRLEN, header, size);
}

void Message::add(uint16_t type, const void* data, size_t size) {
  const auto at = open(type);
  bytes_.resize(bytes_.size() + size);
  if (size) std::memcpy(bytes_.data() + at + NLA_HDRLEN, data, size);
  close(at);
}

size_t Message::open(uint16_t type) {
  const auto at = NLMSG_ALIGN(bytes_.size());
  bytes_.resize(at + NLA_HDRLEN);
  const nlattr head{.nla_len = 0, .nla_type = type};
  std::memcpy(bytes_.data() + at, &head, sizeof head);
  return at;
}

void Message::close(size_t at) {
  const auto length = static_cast<uint16_t>(bytes_.size() - at);
  std::memcpy(bytes_.data() + at + offsetof(nlattr, nla_len), &length, sizeof length);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void Message::flag(uint16_t flags) {
  auto head = read_as<nlmsghdr>(bytes_.data());
  head.nlmsg_flags |= flags;
  std::memcpy(bytes_.data(), &head, sizeof head);
}

std::span<const char> Message::finish(uint32_t sequence) {
  auto head = read_as<nlmsghdr>(bytes_.data());
  head.nlmsg_len = static_cast<uint32_t>(bytes_.size());
  head.nlmsg_seq = sequence;
  std::memcpy(bytes_.data(), &head, sizeof head);
  return bytes_;
}

Wire::Wire(int protocol) : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)) {
  // The kernel answers at once; a bound keeps a sandbox with half a netlink from hanging the pod's start.
  const timeval limit{10, 0};
  if (fd_ < 0) {
    fd_ = -errno;
    return;
  }
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  // The first question would give it an address too; one that only listens to a group hears nothing without.
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  [[maybe_unused]] const int bound = ::bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any);
}

Wire::Wire(Wire&& other) noexcept : fd_(std::exchange(other.fd_, -EBADF)), sequence_(other.sequence_) {}
Wire::~Wire() {
  if (fd_ >= 0) ::close(fd_);
}

int Wire::request(Message& message) {
  message.flag(NLM_F_ACK);
  return dump(message, [](std::span<const char>) {});
}

int Wire::dump(Message& message, const std::function<void(std::span<const char>)>& each) {
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts; ++attempt)
    if (const auto reply = exchange(message, each); reply.error || !reply.changed) return reply.error;
  return EAGAIN;
}

Reply Wire::exchange(Message& message, const std::function<void(std::span<const char>)>& each) {
  if (fd_ < 0) return {.over = true, .changed = false, .error = -fd_};
  const auto bytes = message.finish(++sequence_);
  if (::send(fd_, bytes.data(), bytes.size(), 0) < 0) return {.over = true, .changed = false, .error = errno};
  alignas(nlmsghdr) char buffer[65536];
  Reply all;
  while (!all.over) {
    const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {.over = true, .changed = all.changed, .error = got < 0 ? errno : EIO};
    const auto part = read_reply({buffer, static_cast<size_t>(got)}, sequence_, each);
    all = {.over = part.over, .changed = all.changed || part.changed, .error = part.error};
  }
  return all;
}

Reply read_reply(std::span<const char> datagram, uint32_t sequence, const std::function<void(std::span<const char>)>& each) {
  Reply out;
  const auto ended = [&](int error) {
    out.over = true;
    out.error = error;
    return out;
  };
  while (datagram.size() >= sizeof(nlmsghdr)) {
    const auto head = read_as<nlmsghdr>(datagram.data());
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > datagram.size()) return ended(EBADMSG);
    if (head.nlmsg_seq == sequence) {
      const auto body = datagram.subspan(NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN);
      out.changed = out.changed || (head.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      const bool done = head.nlmsg_type == NLMSG_DONE;
      if (done || head.nlmsg_type == NLMSG_ERROR) {
        // Both begin with 0 or a negative errno; a list without a word about its end has come to it.
        if (body.size() < sizeof(int)) return ended(done ? 0 : EBADMSG);
        return ended(-std::min(0, read_as<int>(body.data())));
      }
      each(body);
    }
    datagram = datagram.subspan(std::min<size_t>(NLMSG_ALIGN(head.nlmsg_len), datagram.size()));
  }
  return out;
}

}  // namespace init
