#include "http/path.h"

#include <gtest/gtest.h>

namespace http {
namespace {

std::string normal(std::string_view path, PathMode mode) {
  std::pmr::monotonic_buffer_resource arena;
  const auto result = normal_path(path, mode, &arena);
  return result ? std::string(*result) : "refused";
}

struct Row {
  std::string_view input, none, base, merge, decode;
};

// Istio's own table (MeshConfig pathNormalization) first, then corners.
constexpr Row kRows[] = {
    {"/app/../admin", "/app/../admin", "/admin", "/admin", "/admin"},
    {"/app//", "/app//", "/app//", "/app/", "/app/"},
    {"/app/%2f", "/app/%2f", "/app/%2f", "/app/%2f", "/app/"},
    {"/app%2f/", "/app%2f/", "/app%2f/", "/app%2f/", "/app/"},
    {"/xyz%30..//abc", "/xyz%30..//abc", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"},
    {"/app/%2E./admin", "/app/%2E./admin", "/admin", "/admin", "/admin"},
    {"/app\\admin", "/app\\admin", "/app/admin", "/app/admin", "/app/admin"},
    {"/app/\\/\\/\\admin", "/app/\\/\\/\\admin", "/app//////admin", "/app/admin", "/app/admin"},
    {"/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/app/admin/abc"},
    {"/app//../admin", "/app//../admin", "/app/admin", "/app/admin", "/app/admin"},
    {"/app//../../admin", "/app//../../admin", "/admin", "/admin", "/admin"},
    {"/app/%00", "/app/%00", "refused", "refused", "refused"},
    {"/", "/", "/", "/", "/"},
    {"/a.b/c", "/a.b/c", "/a.b/c", "/a.b/c", "/a.b/c"},
    {"/..", "/..", "/", "/", "/"},
    {"/.", "/.", "/", "/", "/"},
    {"/a/.", "/a/.", "/a/", "/a/", "/a/"},
    {"/a/b/..", "/a/b/..", "/a/", "/a/", "/a/"},
    {"/../../etc/passwd", "/../../etc/passwd", "/etc/passwd", "/etc/passwd", "/etc/passwd"},
    {"/.../x", "/.../x", "/.../x", "/.../x", "/.../x"},
    {"/..a/.b", "/..a/.b", "/..a/.b", "/..a/.b", "/..a/.b"},
    {"/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"},
    {"/%c0%ae/a", "/%c0%ae/a", "/%c0%ae/a", "/%c0%ae/a", "/%c0%ae/a"},
    {"/a%2", "/a%2", "/a%2", "/a%2", "/a%2"},
    {"/a%", "/a%", "/a%", "/a%", "/a%"},
    {"/%zz%41", "/%zz%41", "/%zzA", "/%zzA", "/%zzA"},
    {"/a%2f..%2fb", "/a%2f..%2fb", "/a%2f..%2fb", "/a%2f..%2fb", "/b"},
    {"/ok?p=/../x//%41\\", "/ok?p=/../x//%41\\", "/ok?p=/../x//%41\\", "/ok?p=/../x//%41\\", "/ok?p=/../x//%41\\"},
    {"/a/../b?c=%00", "/a/../b?c=%00", "/b?c=%00", "/b?c=%00", "/b?c=%00"},
    {"/..?", "/..?", "/?", "/?", "/?"},
};

TEST(Path, Table_FourModes) {
  for (const Row& row : kRows) {
    EXPECT_EQ(normal(row.input, PathMode::kNone), row.none) << row.input;
    EXPECT_EQ(normal(row.input, PathMode::kBase), row.base) << row.input;
    EXPECT_EQ(normal(row.input, PathMode::kMergeSlashes), row.merge) << row.input;
    EXPECT_EQ(normal(row.input, PathMode::kDecodeAndMergeSlashes), row.decode) << row.input;
  }
}

TEST(Path, NormalPath_IsNotCopied) {
  std::pmr::monotonic_buffer_resource arena;
  const std::string_view path = "/a/b.html?c=d/../e";
  EXPECT_EQ(normal_path(path, PathMode::kBase, &arena)->data(), path.data());
}

// Whatever comes in: no dot segment, backslash or longer text comes out, and the result does not change any more unless it
// spells a new escape.
TEST(Path, AllShortPaths_ComeOutNormal) {
  constexpr std::string_view kAlphabet = "/.a\\";
  for (unsigned code = 0; code < 4096; ++code) {
    std::string path = "/";
    for (unsigned rest = code, i = 0; i < 6; ++i, rest /= 4) path += kAlphabet[rest % 4];
    const std::string once = normal(path, PathMode::kBase);
    EXPECT_EQ(once, normal(once, PathMode::kBase)) << path;
    EXPECT_LE(once.size(), path.size());
    EXPECT_EQ(once.front(), '/');
    EXPECT_EQ((once + "/").find("/../"), once.npos) << path;
    EXPECT_EQ((once + "/").find("/./"), once.npos) << path;
    EXPECT_EQ(once.find('\\'), once.npos) << path;
    EXPECT_EQ(normal(path, PathMode::kMergeSlashes).find("//"), once.npos) << path;
  }
}

}  // namespace
}  // namespace http
