#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "iptables/plan.h"

namespace init {

// One set of iptables programs: xtables-nft, xtables-legacy, or the plain names where a distribution has no others.
class Tools {
 public:
  // Those that are installed, in order of preference: nft needs one capability less and has no lock.
  // `lock_file` becomes the xtables lock of the legacy programs; empty: their own.
  static std::vector<Tools> installed(const std::string& lock_file);

  std::string_view name() const noexcept { return name_; }  // "iptables-nft"
  iptables::Backend backend() const noexcept { return backend_; }

  // What the namespace holds. Never makes the kernel create a table: legacy is asked only where it has tables already.
  std::expected<iptables::Saved, std::string> save(bool ipv4) const;
  // iptables-restore --noflush; one commit per table. The error names the rule that was refused.
  std::expected<void, std::string> restore(bool ipv4, const std::string& text) const;

 private:
  std::string name_;
  iptables::Backend backend_ = iptables::Backend::kNft;
  std::string save_[2], restore_[2];  // absolute paths; IPv4, IPv6. Empty when not installed
  std::vector<std::string> environment_;
};

}  // namespace init
