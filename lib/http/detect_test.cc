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

TEST(Sniff, LineEndsInFront) {
  for (const bool http10 : {false, true}) {
    EXPECT_EQ(decided("\r\n", http10), Sniffed::kNeedMore);
    EXPECT_EQ(decided("\r\nGE", http10), Sniffed::kNeedMore);
    EXPECT_EQ(decided("\r\n\r\nGET / HTTP/1.1\r\n", http10), Sniffed::kHttp1);
    EXPECT_EQ(decided("\r\nSSH-2.0-x\r\n", http10), Sniffed::kOther);
    EXPECT_EQ(decided("\r\n\x16\x03\x01\x02\x00\x01"sv, http10), Sniffed::kOther);
    // Refused by the codec, served by others.
    EXPECT_EQ(decided("\nGET / HTTP/1.1\r\n", http10), Sniffed::kHttp1);
    EXPECT_EQ(decided("\rGET / HTTP/1.1\r\n", http10), Sniffed::kHttp1);
    EXPECT_EQ(decided("GET  / HTTP/1.1\r\n", http10), Sniffed::kHttp1);
    EXPECT_EQ(decided("GET\t/ HTTP/1.1\r\n", http10), Sniffed::kHttp1);
    EXPECT_EQ(decided("GET \v/ HTTP/1.1\r\n", http10), Sniffed::kHttp1);
    EXPECT_EQ(decided(std::string(kLeadingBytes - 1, '\n') + "SSH", http10), Sniffed::kOther);
    EXPECT_EQ(decided(std::string(kLeadingBytes, '\n') + "SSH", http10), Sniffed::kHttp1);
  }
  EXPECT_EQ(decided("\r\nGET / HTTP/1.0\r\n"), Sniffed::kOther);
}

TEST(Sniff, LineWithoutEnd_IsHttp1s) {
  const std::string line = "GET /" + std::string(kMostSniffed, 'a');
  const auto at = [&line](size_t n) { return sniff(net::bytes_of(std::string_view(line).substr(0, n)), false); };
  EXPECT_EQ(at(kMostSniffed - 1), Sniffed::kNeedMore);
  EXPECT_EQ(at(kMostSniffed), Sniffed::kHttp1);
  EXPECT_EQ(sniff(net::bytes_of(line + " HTTP/1.0\r\n"), false), Sniffed::kHttp1) << "a verdict never changes";
}

TEST(Sniff, PieceByPiece_SaysTheSame) {
  for (const std::string text : {"\r\nGET /abc HTTP/1.1\r\n", "GET /abc HTTP/1.0\r\n", "GET /abc HTTP/1.0\n", "PUT / HTTP/1.1\n"}) {
    Sniffer sniffer(false);
    for (size_t n = 0; n <= text.size(); ++n) {
      const auto bytes = net::bytes_of(std::string_view(text).substr(0, n));
      EXPECT_EQ(sniffer.look(bytes), sniff(bytes, false)) << text << " at " << n;
    }
  }
}

// Whatever the codec would serve is recognised, for every byte at every place where one decides.
TEST(Sniff, TakesWhatTheCodecTakes) {
  constexpr std::string_view kMethods[] = {"GET", "POST", "HEAD", "OPTIONS", "CONNECT", "M-SEARCH", "PRI", "PROPFIND", "UNSUBSCRIBE", "FOO", "get"};
  constexpr std::string_view kFronts[] = {"", "\r\n", "\r\n\r\n", "\n", "\r"};
  constexpr std::string_view kTargets[] = {"/", "*", "http://a/", "HTTPS://a", "a:80", "//", "?a"};
  size_t taken = 0;
  const auto both = [&taken](const std::string& text) {
    for (const bool http10 : {false, true}) {
      if (!codec_takes(text, http10)) continue;
      ++taken;
      EXPECT_EQ(decided(text.substr(0, 64), http10), Sniffed::kHttp1) << text;
    }
  };
  for (const auto front : kFronts)
    for (const auto method : kMethods)
      for (const auto target : kTargets)
        for (const char* version : {" HTTP/1.1", " HTTP/1.0", " HTTP/2.0", ""}) {
          const std::string head = std::string(method) + " " + std::string(target) + version + "\r\nHost: a\r\n\r\n";
          both(std::string(front) + head);
        }
  const std::string plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  for (int byte = 0; byte < 256; ++byte)
    for (size_t at = 0; at < 6; ++at) {
      std::string changed = plain;
      both(changed.insert(at, 1, static_cast<char>(byte)));
      changed = plain;
      changed[at] = static_cast<char>(byte);
      both(changed);
    }
  for (size_t lines = 0; lines < 40; ++lines) {
    std::string text;
    for (size_t i = 0; i < lines; ++i) text += "\r\n";
    if (codec_takes(text + plain, false)) ++taken;
    EXPECT_EQ(decided(text + plain), Sniffed::kHttp1) << lines;
  }
  EXPECT_GT(taken, 200u) << "nothing was compared";
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
