#include "init/wire.h"

#include <gtest/gtest.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

namespace init {
namespace {

std::string message(uint16_t type, uint16_t flags, uint32_t sequence, std::string_view body) {
  const nlmsghdr head{.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + body.size()),
                      .nlmsg_type = type,
                      .nlmsg_flags = flags,
                      .nlmsg_seq = sequence,
                      .nlmsg_pid = 0};
  std::string out(reinterpret_cast<const char*>(&head), sizeof head);
  out.append(body);
  out.resize(NLMSG_ALIGN(out.size()));
  return out;
}
std::string number(int value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

// What comes out of a datagram: its objects, and how it went on.
std::pair<std::string, Reply> read(std::string_view datagram) {
  std::string objects;
  const auto reply = read_reply(datagram, 7, [&](std::span<const char> body) { objects.append(body.begin(), body.end()) += '|'; });
  return {objects, reply};
}
constexpr uint16_t kObject = SOCK_DIAG_BY_FAMILY;

TEST(ReadReply, ObjectsOfThisQuestionAlone_AndMoreToCome) {
  const auto [objects, reply] =
      read(message(kObject, NLM_F_MULTI, 7, "abc") + message(kObject, NLM_F_MULTI, 6, "old") + message(kObject, NLM_F_MULTI, 7, "d"));
  EXPECT_EQ(objects, "abc|d|");
  EXPECT_FALSE(reply.over || reply.changed || reply.error);
}

TEST(ReadReply, Done_IsTheEndAndCarriesTheErrorOfAListThatFailed) {
  for (const int error : {0, ENOENT, EPERM}) {
    const auto [objects, reply] = read(message(kObject, NLM_F_MULTI, 7, "a") + message(NLMSG_DONE, NLM_F_MULTI, 7, number(-error)));
    EXPECT_EQ(objects, "a|");
    EXPECT_TRUE(reply.over);
    EXPECT_EQ(reply.error, error);
  }
  const auto bare = read(message(NLMSG_DONE, NLM_F_MULTI, 7, "")).second;
  EXPECT_TRUE(bare.over && !bare.error);
}

TEST(ReadReply, ErrorAndWhatIsCutOff_AreErrors) {
  EXPECT_EQ(read(message(NLMSG_ERROR, 0, 7, number(-EEXIST))).second.error, EEXIST);
  const auto acknowledged = read(message(NLMSG_ERROR, 0, 7, number(0))).second;
  EXPECT_TRUE(acknowledged.over && !acknowledged.error);
  EXPECT_EQ(read(message(NLMSG_ERROR, 0, 7, "")).second.error, EBADMSG);
  EXPECT_EQ(read(message(kObject, 0, 7, "abcdefgh").substr(0, NLMSG_HDRLEN + 4)).second.error, EBADMSG);
}

TEST(ReadReply, ListThatChangedMeanwhile_IsSaid) {
  EXPECT_TRUE(read(message(kObject, NLM_F_MULTI | NLM_F_DUMP_INTR, 7, "a")).second.changed);
  EXPECT_TRUE(read(message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 7, number(0))).second.changed);
  EXPECT_FALSE(read(message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 6, number(0))).second.changed);
}

// As where the kernel has no part for TCP: the question is taken, and its list fails.
TEST(Wire, SocketsOfAProtocolThatIsNotThere_AreNoEmptyList) {
  Wire wire(NETLINK_SOCK_DIAG);
  inet_diag_req_v2 question{};
  question.sdiag_family = AF_INET;
  question.sdiag_protocol = 253;  // for experiments, RFC 3692 §2.1
  question.idiag_states = ~0u;
  Message asked(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, question);
  EXPECT_EQ(wire.dump(asked, [](std::span<const char>) {}), ENOENT);
}

}  // namespace
}  // namespace init
