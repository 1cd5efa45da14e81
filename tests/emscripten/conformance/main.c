#include "conformance.h"

int main(void) {
  streams();
  connecting();
  waiting();
  datagrams();
  options();
  descriptors();
  names();
  puts("end");
  return 0;
}
