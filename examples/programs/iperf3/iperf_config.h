/* What iperf3's configure would find in emscripten's C library. */
#define HAVE_CLOCK_GETTIME 1
#define HAVE_ENDIAN_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_POLL_H 1
#define HAVE_STDINT_H 1
#define HAVE_SYS_SOCKET_H 1
#define PACKAGE_BUGREPORT "https://github.com/esnet/iperf"
#define PACKAGE_NAME "iperf"
#define PACKAGE_STRING "iperf 3.9"
#define PACKAGE_URL "https://software.es.net/iperf/"
#define PACKAGE_VERSION "3.9"
