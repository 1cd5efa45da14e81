#include "conformance.h"

int main(void) {
  streams();
  connecting();
  waiting();
  datagrams();
  echoes();
  options();
  descriptors();
  names();
  puts("end");
  return 0;
}
