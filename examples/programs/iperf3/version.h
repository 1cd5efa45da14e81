/* What iperf3's configure would make of version.h.in. */
#define IPERF_VERSION "3.9"
#define IPERF_VERSION_DATE "2020"
