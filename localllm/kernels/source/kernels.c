/* What the library exports: which instruction sets this processor has, and the encoder for each of them. */
#if !defined(__GNUC__) || !defined(__x86_64__)
#error "these kernels are for x86-64 and need GCC or Clang; without them ggml's own routines are used"
#endif

#include <cpuid.h>

#include "kernels.h"

#define EXPORT __attribute__((visibility("default")))

enum { SSE2 = 1, AVX2 = 2, AVX512 = 3 };

/* Return what has to change with the meaning of the functions below: a library left over from another version
 * is then not called. */
EXPORT int localllm_kernels_version(void)
{
    return 1;
}

/* Which registers the operating system saves: bits of XCR0. */
static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Return the best instruction set of this processor, as `localllm_encode` takes it. */
EXPORT int localllm_best_lanes(void)
{
    enum { YMM = 0x06, ZMM = 0xe6 };
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return SSE2;
    const unsigned saved = saved_registers();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (saved & YMM) != YMM)
        return SSE2;
    const unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return (b & wide) == wide && (saved & ZMM) == ZMM ? AVX512 : AVX2;
}

/* Encode `rows` rows of `columns` weights with one of the instruction sets that the processor has.
 *
 * Return 0 for a type, an instruction set or a width that is not known here; nothing is written then. */
EXPORT int localllm_encode(int lanes, int type, const float *x, uint8_t *y, int64_t rows, int64_t columns,
                           const float *importance, ggml_encoder ggml)
{
    const int64_t block = type == Q8_0 ? 32 : 256;
    encoder *const encode =
        lanes == SSE2 ? encode_sse2 : lanes == AVX2 ? encode_avx2 : lanes == AVX512 ? encode_avx512 : NULL;
    if (encode == NULL || rows < 0 || columns <= 0 || columns % block != 0)
        return 0;
    return encode(type, x, y, rows * columns, columns, importance, ggml);
}
