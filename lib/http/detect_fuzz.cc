// Any first bytes of a connection. A verdict never changes with more bytes, comes within the bytes that detect.h promises, and
// what looks like a ClientHello never yields a name from outside of it. What the codec would take as a request is HTTP/1.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "http/chars.h"
#include "http/detect.h"
#include "http/testing.h"

namespace {

using namespace http;

void must(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void sniffing(std::string_view input, bool http10) {
  Sniffed verdict = Sniffed::kNeedMore;
  Sniffer sniffer(http10);
  for (size_t n = 0; n <= input.size(); ++n) {
    const std::string seen(input.substr(0, n));   // of its own, so that a look beyond the end is a report
    const Sniffed now = sniff(net::bytes_of(seen), http10);
    if (verdict == Sniffed::kNeedMore) {
      must(sniffer.look(net::bytes_of(seen)) == now, "pieces are judged unlike the whole");
      verdict = now;
    } else {
      must(now == verdict, "a verdict changes with more bytes");
    }
    if (now != Sniffed::kNeedMore && n > 2 * kLeadingBytes) break;   // no later byte is looked at
  }
  if (testing::codec_takes(input, http10)) must(verdict == Sniffed::kHttp1, "a request that the codec takes is not recognised");
  // Unless HTTP/1.0 is told apart, line ends and the preface, a record header or the longest method are enough.
  if (http10 && input.size() >= kLeadingBytes + 40) must(verdict != Sniffed::kNeedMore, "104 bytes decide nothing");
  if (verdict == Sniffed::kTls) must(input[0] == 0x16, "TLS that does not begin with a handshake record");
}

void hello(std::string_view input) {
  const ClientHello whole = client_hello(net::bytes_of(input));
  if (!whole.sni.empty()) {
    must(whole.valid && whole.complete, "a name from a hello that is not whole");
    must(whole.sni.data() >= input.data() && whole.sni.data() + whole.sni.size() <= input.data() + input.size(), "a name from elsewhere");
    for (const char c : whole.sni) must(is(c, kHostName), "a name with bytes that no host name has");
  }
  bool complete = false;
  for (size_t n = 0; n <= input.size(); ++n) {
    const std::string seen(input.substr(0, n));
    const ClientHello now = client_hello(net::bytes_of(seen));
    must(!complete || (now.complete && now.valid == whole.valid && now.sni == whole.sni), "a hello changes when more bytes follow it");
    must(!now.complete || !now.valid || sniff(net::bytes_of(seen), true) == Sniffed::kTls, "a hello that does not look like TLS");
    complete |= now.complete && now.valid;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1024) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  sniffing(input, true);
  sniffing(input, false);
  hello(input);
  return 0;
}
