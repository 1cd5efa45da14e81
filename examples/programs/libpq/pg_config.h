/* What configure would have found, of machines with 64 bits; here the sizes of wasm32. */
#include_next <pg_config.h>
#undef SIZEOF_LONG
#undef SIZEOF_SIZE_T
#undef SIZEOF_VOID_P
#undef HAVE_LONG_INT_64
#define HAVE_LONG_LONG_INT_64 1
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_SIZE_T 4
#define SIZEOF_VOID_P 4
