#include "conformance.h"

int main(void) {
  streams();
  connecting();
  waiting();
  multiplexing();
  datagrams();
  echoes();
  options();
  descriptors();
  names();
  puts("end");
  return 0;
}
