// What a kernel in CUDA C needs of CUDA to be C++: one thread after the other.
struct Dim { long long x; };
static Dim blockIdx, blockDim, threadIdx;
#define __global__
#define __restrict__ __restrict

static inline float __int_as_float(int bits) { float value; __builtin_memcpy(&value, &bits, 4); return value; }

#define MATHS(name) \
    static inline float name(float x) { return __builtin_##name##f(x); } \
    static inline double name(double x) { return __builtin_##name(x); }
MATHS(fabs) MATHS(exp) MATHS(log) MATHS(sqrt) MATHS(sin) MATHS(cos) MATHS(tanh) MATHS(atan) MATHS(floor) MATHS(ceil) MATHS(rint)
static inline float pow(float x, float y) { return __builtin_powf(x, y); }
static inline double pow(double x, double y) { return __builtin_pow(x, y); }

// Half precision as CUDA has it: a type of memory, converted to float and, to the nearest, from it.
struct __half {
    unsigned short bits;
    explicit __half(float value) {
        unsigned u; __builtin_memcpy(&u, &value, 4);
        const unsigned sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
        if (magnitude > 0x7f800000u) { bits = sign | 0x7e00u; return; }              // NaN
        if (magnitude >= 0x477ff000u) { bits = sign | 0x7c00u; return; }             // infinite, or rounded to it
        if (magnitude < 0x38800000u) {                                               // subnormal
            const float scaled = __builtin_fabsf(value) * 16777216.0f;               // in units of 2^-24, exact
            bits = sign | (unsigned short)__builtin_rintf(scaled); return;
        }
        const unsigned rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        bits = sign | (rounded - 0x38000000u) >> 13;
    }
    explicit operator float() const {
        const unsigned exponent = bits >> 10 & 31u, fraction = bits & 0x3ffu;
        float value = exponent == 0 ? fraction / 16777216.0f : 0.0f;
        if (exponent) {
            const unsigned u = (exponent == 31u ? 255u : exponent + 112u) << 23 | fraction << 13;
            __builtin_memcpy(&value, &u, 4);
        }
        return bits & 0x8000u ? -value : value;
    }
};
