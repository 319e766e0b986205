#pragma once

#include <string>
#include <string_view>

#include "net/task.h"
#include "proxy/admin.h"

namespace proxy {

struct Page {
  uint16_t status = 200;
  std::string type = "text/plain; charset=UTF-8";
  std::string body;
};
inline Page json_page(std::string body) { return {200, "application/json", std::move(body)}; }

// One query parameter, undecoded; empty when absent. `has` tells absent from empty.
std::string_view query(std::string_view path, std::string_view name, bool* has = nullptr);

// The page at `path` (query included) for GET and POST; 404 lists what there is. May suspend: some pages ask every worker.
net::Task<Page> admin_page(AdminContext& admin, std::string_view method, std::string_view path);

// Pages that are made from the snapshot alone (admin_dump.cc).
std::string config_dump(const AdminContext& admin);
std::string listeners_text(const AdminContext& admin);
std::string listeners_json(const AdminContext& admin);
std::string server_info(const AdminContext& admin);

}  // namespace proxy
