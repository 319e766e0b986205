#include "init/native_state.h"

#include <gtest/gtest.h>

namespace init {
namespace {

TEST(WithDigests, EachRule_CarriesThatOfItsTable) {
  const std::string text =
      "add table ip a\nadd chain ip a x\nadd rule ip a x counter return\nadd rule ip a x counter accept\n"
      "add table ip6 a\nadd rule ip6 a x counter return\n";
  const auto marked = with_digests(text);
  const auto comment = [&](std::string_view rule) {
    const auto at = marked.find(rule);
    if (at == std::string::npos) return std::string();
    return marked.substr(at + rule.size(), marked.find('\n', at) - at - rule.size());
  };
  const auto first = comment("add rule ip a x counter return");
  EXPECT_TRUE(first.starts_with(" comment \"sluice ") && first.size() == 34 && first.ends_with('"')) << marked;
  EXPECT_EQ(comment("add rule ip a x counter accept"), first);
  EXPECT_NE(comment("add rule ip6 a x counter return"), first);
  EXPECT_TRUE(marked.starts_with("add table ip a\nadd chain ip a x\nadd rule "));
  EXPECT_EQ(with_digests(text), marked);
  EXPECT_EQ(with_digests("add table ip a\nadd rule ip a x drop\n").find(first), std::string::npos);
  EXPECT_EQ(with_digests(""), "");
}

TEST(PortsIn, Listing_ThoseOfRedirectAndTproxy) {
  EXPECT_EQ(ports_in("meta l4proto tcp counter redirect to :16001\n tproxy to :15006 meta mark set 1 accept\n tcp dport 80 return\n"),
            (std::set<uint16_t>{16001, 15006}));
  EXPECT_TRUE(ports_in("redirect to :").empty() && ports_in("").empty());
}

}  // namespace
}  // namespace init
