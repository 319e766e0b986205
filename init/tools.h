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
  struct Choice {
    std::string lock_file;                                  // the xtables lock of the legacy programs; empty: their own
    iptables::Backend forced = iptables::Backend::kDetect;  // this one is meant, whatever is in use
    bool all = false;                                       // what cannot be read is no answer, unless another one is forced
  };
  // Those that are installed, in order of preference: nft needs one capability less and has no lock.
  static std::vector<Tools> installed(const Choice& choice);

  std::string_view name() const noexcept { return name_; }  // "iptables-nft"
  iptables::Backend backend() const noexcept { return backend_; }

  // What the namespace holds. Legacy is asked only where it has tables already, for a question makes the kernel create one. Only
  // root may see whether it has; anybody else gets nothing, unless this backend is forced or Choice::all says to look.
  std::expected<iptables::Saved, std::string> save(bool ipv4) const;
  // Whether save() left it unasked for that reason, though no other backend is forced: there may be something.
  bool unasked(bool ipv4) const;
  // iptables-restore --noflush; one commit per table. The error names the rule that was refused.
  std::expected<void, std::string> restore(bool ipv4, const std::string& text) const;

 private:
  std::expected<iptables::Saved, std::string> save_table_by_table(bool ipv4) const;

  std::string name_;
  bool must_look_ = false, of_no_matter_ = false;  // the second: another one is forced
  iptables::Backend backend_ = iptables::Backend::kNft;
  std::string save_[2], restore_[2];  // absolute paths; IPv4, IPv6. Empty when not installed
  std::vector<std::string> environment_;
};

}  // namespace init
