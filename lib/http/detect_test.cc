#include "http/detect.h"

#include <gtest/gtest.h>

#include "http/h2_session.h"
#include "http/testing.h"

namespace http::testing {
namespace {

using namespace std::string_view_literals;

// The first answer that is not kNeedMore, whatever the split.
Sniffed decided(std::string_view bytes, bool http10 = false) {
  Sniffed answer = Sniffed::kNeedMore;
  for (size_t n = 0; n <= bytes.size(); ++n) {
    const Sniffed now = sniff(net::bytes_of(bytes.substr(0, n)), http10);
    if (answer == Sniffed::kNeedMore)
      answer = now;
    else
      EXPECT_EQ(now, answer) << bytes << " at " << n;  // a verdict never changes
  }
  return answer;
}

TEST(Sniff, Table) {
  EXPECT_EQ(decided("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Sniffed::kHttp1);
  EXPECT_EQ(decided("PROPFIND /a HTTP/1.1\r\n"), Sniffed::kHttp1);
  EXPECT_EQ(decided("OPTIONS * HTTP/1.1\r\n"), Sniffed::kHttp1);
  EXPECT_EQ(decided("GET http://a/ HTTP/1.1\r\n"), Sniffed::kHttp1);
  EXPECT_EQ(decided("CONNECT 1.2.3.4:80 HTTP/1.1\r\n"), Sniffed::kHttp1);
  EXPECT_EQ(decided("GET / HTTP/1.0\r\n"), Sniffed::kOther);
  EXPECT_EQ(decided("GET / HTTP/1.0\r\n", true), Sniffed::kHttp1);
  EXPECT_EQ(decided("GET /", true), Sniffed::kHttp1);
  EXPECT_EQ(decided("GET /"), Sniffed::kNeedMore);
  EXPECT_EQ(decided("GE"), Sniffed::kNeedMore);
  EXPECT_EQ(decided("PR"), Sniffed::kNeedMore);
  EXPECT_EQ(decided("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"sv), Sniffed::kHttp2Preface);
  EXPECT_EQ(decided("PRI * HTTP/2.0\r\n\r\nSX"), Sniffed::kOther);
  EXPECT_EQ(decided("SSH-2.0-x\r\n"), Sniffed::kOther);
  EXPECT_EQ(decided("GETTY"), Sniffed::kOther);
  EXPECT_EQ(decided("GET 1"), Sniffed::kOther);
  EXPECT_EQ(decided("\0\0"sv), Sniffed::kOther);
  EXPECT_EQ(decided("\x16\x03\x01\x02\x00\x01"sv), Sniffed::kTls);
  EXPECT_EQ(decided("\x16\x03\x01\x00\x00"sv), Sniffed::kOther);
  EXPECT_EQ(decided("\x16\x02"sv), Sniffed::kOther);
  EXPECT_EQ(decided("\x16\x03\x01"sv), Sniffed::kNeedMore);
}

std::string number(size_t value, size_t width) {
  std::string out;
  while (width-- > 0) out += static_cast<char>(value >> (8 * width));
  return out;
}
std::string hello_with(const std::string& extensions) {
  const std::string body = "\x03\x03" + std::string(32, 'r') + number(0, 1) + number(2, 2) + "\x13\x01" + number(1, 1) + number(0, 1) +
                           number(extensions.size(), 2) + extensions;
  const std::string message = "\x01" + number(body.size(), 3) + body;
  return "\x16\x03\x01" + number(message.size(), 2) + message;
}
std::string sni(const std::string& name, char type = 0) {
  const std::string list = std::string(1, type) + number(name.size(), 2) + name;
  return number(0, 2) + number(list.size() + 2, 2) + number(list.size(), 2) + list;
}

TEST(ClientHello, Name_AtEverySplitPoint) {
  const std::string bytes = hello_with(number(0x2b, 2) + number(3, 2) + "\x02\x03\x04" + sni("reviews.default"));
  for (size_t n = 0; n < bytes.size(); ++n) {
    const ClientHello part = client_hello(net::bytes_of(std::string_view(bytes).substr(0, n)));
    EXPECT_TRUE(part.valid && !part.complete) << n;
  }
  const ClientHello whole = client_hello(net::bytes_of(bytes));
  EXPECT_TRUE(whole.valid && whole.complete);
  EXPECT_EQ(whole.sni, "reviews.default");
}

TEST(ClientHello, OddOnes) {
  EXPECT_TRUE(client_hello(net::bytes_of(hello_with(""))).valid);
  EXPECT_EQ(client_hello(net::bytes_of(hello_with(""))).sni, "");
  EXPECT_FALSE(client_hello(net::bytes_of(hello_with(sni("")))).valid);
  EXPECT_FALSE(client_hello(net::bytes_of(hello_with(sni(std::string(256, 'a'))))).valid);
  EXPECT_FALSE(client_hello(net::bytes_of(hello_with(sni("a", 1)))).valid);
  EXPECT_FALSE(client_hello(net::bytes_of(hello_with(sni("a\nb")))).valid);
  EXPECT_FALSE(client_hello(net::bytes_of(hello_with(sni("a") + sni("b")))).valid);
  EXPECT_FALSE(client_hello(net::bytes_of(hello_with(sni("abc").substr(0, 8)))).valid);
  EXPECT_FALSE(client_hello(net::bytes_of("GET / HTTP/1.1\r\n")).valid);
  std::string server = hello_with("");
  server[5] = 2;
  EXPECT_FALSE(client_hello(net::bytes_of(server)).valid);
}

TEST(RefuseH2, SendsSettingsAndGoaway) {
  net::Worker worker{manual()};
  auto [near, far] = net::mem_pipe(worker);
  Collector collector(*far);
  worker.spawn(collector.run());
  worker.spawn(refuse_h2(*near));
  worker.poll();
  EXPECT_EQ(collector.text, "\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d"sv);
  EXPECT_TRUE(collector.ended);
  far->shutdown_write();
  worker.poll();
  EXPECT_EQ(worker.tasks(), 0u);
}

}  // namespace
}  // namespace http::testing
