#pragma once

#include <map>
#include <set>
#include <string>

#include "base/ip.h"

namespace runner {

struct AddressPair {
  base::Ip v4, v6{.bytes = {}, .v4 = false};
};

// Gives each name one IPv4 and one IPv6 address and keeps it while the name is there. A freed number comes back only after
// all others have been used: a client that still holds the old one must not meet a stranger.
class AddressPool {
 public:
  // `first4`, `first6`: the address of number 0; `count`: how many there are.
  AddressPool(base::Ip first4, base::Ip first6, uint32_t count);
  // Never fails while fewer than `count` names are held; the zero pair after that.
  AddressPair of(const std::string& name);
  void reserve(const base::Ip& address);  // somebody chose it himself
  void release(const std::string& name);

 private:
  AddressPair at(uint32_t number) const;
  base::Ip first4_, first6_;
  uint32_t count_, next_ = 0;
  std::map<std::string, uint32_t> held_;
  std::set<uint32_t> used_;
};

AddressPool pod_addresses();      // 10.244.0.10 …, fd00:10:244::a …
AddressPool service_addresses();  // 10.96.1.0 …, fd00:10:96::100 …

}  // namespace runner
