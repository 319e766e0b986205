// Linked into the instrumented proxy only: writes its counters once a second, for a proxy is ended by signals.
#include <pthread.h>
#include <unistd.h>

int __llvm_profile_write_file(void);

static void* dump(void* unused) {
  for (;;) {
    sleep(1);
    __llvm_profile_write_file();
  }
  return unused;
}
__attribute__((constructor)) static void start(void) {
  pthread_t thread;
  pthread_create(&thread, 0, dump, 0);
}
