#include "runner/addresses.h"

namespace runner {
namespace {

// Adds to the last 32 bits.
base::Ip plus(base::Ip ip, uint32_t number) {
  unsigned char* low = ip.bytes.data() + (ip.v4 ? 0 : 12);
  uint32_t value = uint32_t{low[0]} << 24 | uint32_t{low[1]} << 16 | uint32_t{low[2]} << 8 | low[3];
  value += number;
  low[0] = static_cast<unsigned char>(value >> 24);
  low[1] = static_cast<unsigned char>(value >> 16);
  low[2] = static_cast<unsigned char>(value >> 8);
  low[3] = static_cast<unsigned char>(value);
  return ip;
}

uint32_t low_bits(const base::Ip& ip) {
  const unsigned char* low = ip.bytes.data() + (ip.v4 ? 0 : 12);
  return uint32_t{low[0]} << 24 | uint32_t{low[1]} << 16 | uint32_t{low[2]} << 8 | low[3];
}

}  // namespace

AddressPool::AddressPool(base::Ip first4, base::Ip first6, uint32_t count) : first4_(first4), first6_(first6), count_(count) {}

AddressPair AddressPool::at(uint32_t number) const { return {plus(first4_, number), plus(first6_, number)}; }

AddressPair AddressPool::of(const std::string& name) {
  if (const auto had = held_.find(name); had != held_.end()) return at(had->second);
  for (uint32_t tried = 0; tried < count_; ++tried) {
    const uint32_t number = next_;
    next_ = (next_ + 1) % count_;
    if (!used_.insert(number).second) continue;
    held_.emplace(name, number);
    return at(number);
  }
  return {};
}

void AddressPool::reserve(const base::Ip& address) {
  const uint32_t number = low_bits(address) - low_bits(address.v4 ? first4_ : first6_);
  if (number < count_ && at(number).v4.v4 && (at(number).v4 == address || at(number).v6 == address)) used_.insert(number);
}

void AddressPool::release(const std::string& name) {
  const auto had = held_.find(name);
  if (had == held_.end()) return;
  used_.erase(had->second);
  held_.erase(had);
}

AddressPool pod_addresses() { return {*base::Ip::parse("10.244.0.10"), *base::Ip::parse("fd00:10:244::a"), 60'000}; }
AddressPool service_addresses() { return {*base::Ip::parse("10.96.1.0"), *base::Ip::parse("fd00:10:96::100"), 60'000}; }

}  // namespace runner
