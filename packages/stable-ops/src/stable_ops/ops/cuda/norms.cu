// layer_norm and rms_norm of 16-bit rows: see norm_steps and norm_filter, whose formulas these are.

struct Sums {
    static DEVICE Pair nothing() { return {0.0, 0.0}; }
    // Sums over so many lanes, in all of them.
    DEVICE Pair operator()(Pair mine, int lanes) const {
#pragma unroll
        for (int across = 16; across > 0; across /= 2) {
            if (across < lanes) {
                if (CENTRE) mine.first += of_lane(mine.first, across);
                mine.second += of_lane(mine.second, across);
            }
        }
        return mine;
    }
};

DEVICE void halves(u32 pair, float& low, float& high) {
#if BF16
    low = __uint_as_float(pair << 16);
    high = __uint_as_float(pair & 0xffff0000u);
#else
    asm("{\n.reg .b16 h0, h1;\nmov.b32 {h0, h1}, %2;\ncvt.f32.f16 %0, h0;\ncvt.f32.f16 %1, h1;\n}"
        : "=f"(low), "=f"(high)
        : "r"(pair));
#endif
}

DEVICE double widened(u16 number) {
    float low, high;
    halves(number, low, high);
    return low;
}

DEVICE u16 narrowed(float number) {
    u16 bits;
#if BF16
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(number));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(number));
#endif
    return bits;
}

// One rounding: by way of a float32 that is rounded to odd.
DEVICE u16 rounded_once(double y) {
    float near = (float)y;
    const double back = near;
    int bits = __float_as_int(near);
    if (back != y && !(bits & 1) && y == y) near = __int_as_float(bits + (fabs(back) > fabs(y) ? -1 : 1));
    return narrowed(near);
}

template <bool FAR>
DEVICE void add_four(u64 four, double c, double& first, double& second) {
    float x[4];
    halves((u32)four, x[0], x[1]);
    halves((u32)(four >> 32), x[2], x[3]);
    double e[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) e[i] = FAR ? (double)x[i] - c : (double)x[i];
    if (CENTRE) first += (e[0] + e[1]) + (e[2] + e[3]);
    second = fma(e[0], e[0], fma(e[1], e[1], fma(e[2], e[2], fma(e[3], e[3], second))));
}

template <bool FAR>
DEVICE Pair sums_of(const Team& me, const Vector* x, double c) {
    double a = 0, b = 0, p = 0, q = 0;
#pragma unroll 4
    for (int i = me.thread; i < me.vectors; i += THREADS) {
        const Vector v = x[i];
        add_four<FAR>(v.low, c, a, p);
        add_four<FAR>(v.high, c, b, q);
    }
    return {a + b, p + q};
}

// A quotient that is a float64 comes out exactly: a number that equals its mean leaves 0.
DEVICE double mean_of(double first, double n, double inverse) {
    const double near = first * inverse;
    return fma(fma(-near, n, first), inverse, near);
}

struct Root {
    double root, unit, factor;
    bool rational;
};

DEVICE Root root_of(Pair sums, double n, double eps) {
    Root of;
    of.unit = eps > 1e150 ? 0x1p-80 : 0x1p80;
    double total = n * sums.second;
    if (CENTRE) total = fma(-sums.first, sums.first, total);
    const double wide = n * of.unit;
    const double square = fma(total * of.unit, of.unit, eps * wide * wide);
    double y;
    asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(square));
    const double off = fma(-square * y, y, 1.0);
    double inverse = fma(y * off, fma(off, 0.375, 0.5), y);
    const double infinity = __longlong_as_double(0x7ff0000000000000ll);
    if (square == infinity) inverse = 0.0;
    of.root = square * inverse;
    of.root = fma(inverse * 0.5, fma(-of.root, of.root, square), of.root);
    of.rational = fma(of.root, of.root, -square) == 0;
    if (square == infinity) of.root = square;
    of.factor = wide * inverse;
    return of;
}

// Half the width of an interval about a result; the same times 2^-66, below and above.
#define WIDTH 0x1p-21f
#define BELOW (BF16 && !CENTRE ? 0x1.fffff0p-67f : 0x1.fffff0p-1f)
#define ABOVE (BF16 && !CENTRE ? 0x1.000008p-66f : 0x1.000008p0f)
#define LEAST 0x1p-100f
// The high word of 2^128 2^-896, read as a float32.
#define OVERFLOW 0x1.ep-96f
#define PRODUCT (SCALE && !TWICE)

DEVICE u32 packed(float low, float high) {
    u32 pair;
#if BF16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#endif
    return pair;
}

struct Eight {
    float of[8];
};

DEVICE Eight spread(Vector v) {
    Eight e;
    halves((u32)v.low, e.of[0], e.of[1]);
    halves((u32)(v.low >> 32), e.of[2], e.of[3]);
    halves((u32)v.high, e.of[4], e.of[5]);
    halves((u32)(v.high >> 32), e.of[6], e.of[7]);
    return e;
}

// Weights or biases of a block's part, as float32 where there is room: the first and the second fours apart.
struct Kept {
#if WIDE
    float4 *first, *second;
#else
    Vector* vectors;
#endif

    DEVICE Kept(unsigned char* place, int count) {
#if WIDE
        first = (float4*)place;
        second = first + count;
#else
        vectors = (Vector*)place;
#endif
    }

    DEVICE static unsigned bytes(int count) { return count * (WIDE ? 32 : 16); }

    DEVICE void keep(int i, Vector v) {
#if WIDE
        const Eight e = spread(v);
        first[i] = make_float4(e.of[0], e.of[1], e.of[2], e.of[3]);
        second[i] = make_float4(e.of[4], e.of[5], e.of[6], e.of[7]);
#else
        vectors[i] = v;
#endif
    }

    DEVICE Eight operator[](int i) const {
#if WIDE
        const float4 a = first[i], b = second[i];
        return {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#else
        return spread(vectors[i]);
#endif
    }
};

// Rounded results in float32 where it is certain, in float64 elsewhere: `norm_filter`, whose bounds hold for these steps.
struct Filter {
    float high, rest, lifted, offset;
    bool doubt;
    double about, mean, down, wide_offset;

    DEVICE Filter(double about_, double mean_, double factor, double offset_) {
        about = about_;
        mean = mean_;
        wide_offset = offset_;
        offset = (float)offset_;
        down = factor * 0x1p-896;
        const double whole = about + mean;
        high = (float)whole;
        rest = (float)(((double)high - whole) * factor);
        const double far = BF16 ? 0x1p60 : 0x1p30;
        bool sure = factor > 1 / far && factor < far;
        if (CENTRE) {
            const double near = widened(narrowed((float)whole));
            sure = sure && (whole == near || fabs(whole - near) >= 0x1p-22 * fabs(whole));
            if (BF16) sure = sure && fabs(whole) * factor * far >= 1.0;
        }
        doubt = !sure;
        lifted = (float)(BF16 && !CENTRE ? factor * 0x1p66 : factor);
    }

    // Both ends of the interval of a result; whether it is too small for float32 to be trusted.
    template <bool CHECK>
    DEVICE bool ends(float x, float w, float b, float& low, float& up) const {
        float t = CENTRE ? __fmaf_rn(__fsub_rn(x, high), lifted, rest) : __fmul_rn(x, lifted), size;
        if (SHIFT) {
            const float v = PRODUCT ? __fmaf_rn(t, w, b) : __fadd_rn(t, b);
            // The product is at most as large as the sum.
            size = __fadd_rn(fabsf(v), fabsf(b));
            up = __fmaf_rn(size, WIDTH, v);
            low = __fmaf_rn(-size, WIDTH, v);
        } else {
            if (PRODUCT) t = __fmul_rn(t, OFFSET ? __fadd_rn(w, offset) : w);
            low = __fmul_rn(t, BELOW);
            up = __fmul_rn(t, ABOVE);
            size = fabsf(t);
        }
        return CHECK && BF16 && CENTRE && size < LEAST;
    }

    // From float64: cut off after 21 bits and the last set, or an infinity or NaN.
    DEVICE float exact(float x, float w, float b) const {
        double d = x;
        if (CENTRE) d = __dsub_rn(__dsub_rn(d, about), mean);
        if (PRODUCT) d = __dmul_rn(d, OFFSET ? __dadd_rn((double)w, wide_offset) : (double)w);
        d = __dmul_rn(d, down);
        if (SHIFT) d = __fma_rn((double)b, 0x1p-896, d);
        const int word = __double2hiint(d), cut = ((word * 8 + 1) & 0x7fffffff) | (word & 0x80000000);
        const bool fits = fabsf(__int_as_float(word)) < OVERFLOW;
        return fits ? __int_as_float(cut) : (float)(d * 0x1p896);
    }

    // All lanes of a warp have to be there.
    template <bool CHECK>
    DEVICE uint4 operator()(Eight x, Eight w, Eight b) const {
        u32 lower[4], differ[4];
        bool force = doubt, any = false;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float low[2], up[2];
#pragma unroll
            for (int j = 0; j < 2; ++j)
                force |= ends<CHECK>(x.of[2 * i + j], w.of[2 * i + j], b.of[2 * i + j], low[j], up[j]);
            lower[i] = packed(low[0], low[1]);
            differ[i] = lower[i] ^ packed(up[0], up[1]);
        }
#if BF16 && !CENTRE
        // Any below 2^-63 or above 2^65: bits 13 and 14 are then alike.
        u32 inside = 0x40004000u;
#pragma unroll
        for (int i = 0; i < 4; ++i) inside &= lower[i] ^ (lower[i] << 1);
        force |= inside != 0x40004000u;
#endif
        any = force || (differ[0] | differ[1] | differ[2] | differ[3]);
        if (__any_sync(0xffffffffu, any)) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                const u32 half = i % 2 ? 0xffff0000u : 0xffffu;
                const bool unsure = force || (differ[i / 2] & half);
                if (__any_sync(0xffffffffu, unsure)) {
                    const u32 y = narrowed(exact(x.of[i], w.of[i], b.of[i]));
                    if (unsure) lower[i / 2] = (lower[i / 2] & ~half) | (i % 2 ? y << 16 : y);
                }
            }
        }
        if (TWICE && SCALE) {
            // The product of two 16-bit numbers is exact in float32 wherever its rounding depends on it.
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float low, up;
                halves(lower[i], low, up);
                lower[i] = packed(low * w.of[2 * i], up * w.of[2 * i + 1]);
            }
        }
        return make_uint4(lower[0], lower[1], lower[2], lower[3]);
    }
};

// One number of a row with a rational root.
DEVICE u16 divided(float x, float w, float b, double n, double c, double first, Root of, double offset) {
    double y = x;
    y = CENTRE ? fma(n, y - c, -first) : n * y;
    if (TWICE) y = widened(rounded_once(y * of.unit / of.root));
    if (SCALE) y *= (double)w + offset;
    if (!TWICE) y = y * of.unit / of.root;
    if (SHIFT) y += (double)b;
    return rounded_once(y);
}

template <bool CHECK>
DEVICE void write_quick(const Team& me, const Vector* x, const Kept& weights, const Kept& biases, const Filter& filter,
                        uint4* to) {
#pragma unroll 1
    for (int base = me.warp * 32; base < me.vectors; base += THREADS) {
        const int i = base + me.lane;
        const int at = i < me.vectors ? i : me.vectors - 1;
        const Eight e = spread(x[at]), w = SCALE ? weights[at] : e, b = SHIFT ? biases[at] : e;
        const uint4 result = filter.template operator()<CHECK>(e, w, b);
        if (i < me.vectors) store(to + i, result);
    }
}

extern "C" __global__ void __launch_bounds__(TEAMS* THREADS, RESIDENT)
    norms(const u16* x, const u16* w, const u16* b, u16* y, u64 count, u32 length, u32 slice, u32 stages,
          double inverse, double eps, double offset) {
    extern __shared__ __align__(128) unsigned char dynamic[];
    __shared__ Memory memory;
    Team me = team_of(length, slice);
    const u32 vectors = slice / PER_VECTOR, bytes = me.vectors * (u32)sizeof(Vector);
    Kept weights(dynamic, vectors);
    Kept biases(dynamic + (SCALE ? Kept::bytes(vectors) : 0), vectors);
    Vector* ring = (Vector*)(dynamic + (SCALE + SHIFT) * Kept::bytes(vectors)) + me.team * stages * vectors;
    make_barriers(memory, stages);
    const u64 step = me.clusters * TEAMS;
    u64 ahead = me.row;
    if (me.leads())
        for (u32 stage = 0; stage < stages && ahead < count; ++stage, ahead += step)
            fetch(ring + stage * vectors, x + ahead * length + me.begin, bytes, &memory.full[me.team][stage]);
    bool tiny = !SHIFT;
    for (int i = threadIdx.x; i < me.vectors; i += TEAMS * THREADS) {
        if (SCALE) weights.keep(i, ((const Vector*)(w + me.begin))[i]);
        if (SHIFT) {
            const Vector v = ((const Vector*)(b + me.begin))[i];
            const Eight e = spread(v);
            for (int j = 0; j < 8; ++j) tiny |= !(fabsf(e.of[j]) >= LEAST);
            biases.keep(i, v);
        }
    }
    // Of a sum with a bias that is not tiny, float32 loses nothing to subnormal numbers.
    const bool check = __syncthreads_or(tiny);
    const double n = length;
    u32 stage = 0, parity = 0, turn = 0, rare = 0;
    for (u64 row = me.row; row < count; row += step) {
        const Vector* own = ring + stage * vectors;
        await(&memory.full[me.team][stage], parity);
        Pair sums = of_row(me, memory.usual[me.team], turn++, sums_of<false>(me, own, 0.0), Sums());
        double c = 0.0;
        if (CENTRE && n * sums.second * 16.0 < 17.0 * sums.first * sums.first) {
            // As a float32, so that no difference from it is rounded.
            c = (float)(sums.first * inverse);
            sums = of_row(me, memory.rare[me.team], rare++, sums_of<true>(me, own, c), Sums());
        }
        const Root of = root_of(sums, n, eps);
        uint4* to = (uint4*)(y + row * length + me.begin);
        if (!of.rational) {
            const Filter filter(c, mean_of(sums.first, n, inverse), of.factor, offset);
            if (check)
                write_quick<true>(me, own, weights, biases, filter, to);
            else
                write_quick<false>(me, own, weights, biases, filter, to);
        } else {
            u16* each = (u16*)to;
            for (int i = me.thread; i < me.vectors; i += THREADS) {
                const Eight e = spread(own[i]), s = SCALE ? weights[i] : e, t = SHIFT ? biases[i] : e;
                for (int j = 0; j < 8; ++j)
                    each[8 * i + j] = divided(e.of[j], s.of[j], t.of[j], n, c, sums.first, of, offset);
            }
        }
        meet_team(me.team);
        if (me.leads() && ahead < count) {
            fetch(ring + stage * vectors, x + ahead * length + me.begin, bytes, &memory.full[me.team][stage]);
            ahead += step;
        }
        if (++stage == stages) {
            stage = 0;
            parity ^= 1;
        }
    }
    // Nobody leaves while others may still write here.
    meet_cluster();
}
