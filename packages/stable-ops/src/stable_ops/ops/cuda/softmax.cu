// softmax of bfloat16 rows: weights 2^(x slope - shift) with a whole shift, so that sums of parts with other peaks
// are made alike without an error. See `exponentials` for the slope of huge numbers.

#define LOG2_E 1.4426950408889634f
#define LOWEST __int_as_float(0xff800000)
// Adding it leaves the nearest integer.
#define INTEGER 12582912.0f
// Added to the exponents, so that none that matters of a result is lost as a subnormal.
#define RAISED 16.0f
#define LOWERED 0x1p-16

DEVICE float larger(float a, float b) {
    float c;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}

DEVICE u32 larger_pair(u32 a, u32 b) {
    u32 c;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
    return c;
}

DEVICE float first_of(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float second_of(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

DEVICE float power(float t) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(t));
    return y;
}

struct Scale {
    float slope, shift;

    DEVICE Scale(float peak) {
        if (peak == LOWEST) peak = 0.0f;
        const int exponent = (__float_as_int(peak) >> 23) & 255;
        slope = __int_as_float((exponent < 147 ? 127 : 274 - exponent) << 23) * LOG2_E;
        shift = fmaf(peak, slope, INTEGER) - INTEGER;
    }
};

// A double 2^k for a whole k <= 0; 0 far down and for NaN.
DEVICE double down_by(float k) {
    return k > -1000.0f ? __longlong_as_double((long long)(1023 + (int)k) << 52) : 0.0;
}

// A peak and the sum of the weights relative to it.
struct Peaks {
    static DEVICE Pair nothing() { return {(double)LOWEST, 0.0}; }
    DEVICE Pair operator()(Pair mine, int lanes) const {
        const float own = (float)mine.first;
        float peak = own;
#pragma unroll
        for (int across = 16; across > 0; across /= 2)
            if (across < lanes) peak = larger(peak, __shfl_xor_sync(0xffffffff, peak, across));
        const Scale old(own), all(peak);
        // With different slopes they are so far apart that nothing of the lower is left.
        const bool counts = old.slope == all.slope && own > LOWEST;
        double sum = counts ? mine.second * down_by(old.shift - all.shift) : 0.0;
#pragma unroll
        for (int across = 16; across > 0; across /= 2)
            if (across < lanes) sum += of_lane(sum, across);
        return {(double)peak, sum};
    }
};

DEVICE float sum_of_pair(u32 pair, Scale by) {
    return power(fmaf(first_of(pair), by.slope, -by.shift)) + power(fmaf(second_of(pair), by.slope, -by.shift));
}

DEVICE u32 pair_of_results(u32 pair, float slope, float minus, float share) {
    const float first = power(fmaf(first_of(pair), slope, minus)) * share;
    const float second = power(fmaf(second_of(pair), slope, minus)) * share;
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(second), "f"(first));
    return y;
}

// Of each thread the peak, and the sum relative to it.
DEVICE Pair sums_of(const Team& me, const uint4* x) {
    u32 top = 0xff80ff80u;
#pragma unroll 4
    for (int i = me.thread; i < me.vectors; i += THREADS) {
        const uint4 v = x[i];
        top = larger_pair(top, larger_pair(larger_pair(v.x, v.y), larger_pair(v.z, v.w)));
    }
    const float peak = larger(first_of(top), second_of(top));
    const Scale by(peak);
    double sum = 0.0;
#pragma unroll 4
    for (int i = me.thread; i < me.vectors; i += THREADS) {
        const uint4 v = x[i];
        sum += (double)((sum_of_pair(v.x, by) + sum_of_pair(v.y, by)) + (sum_of_pair(v.z, by) + sum_of_pair(v.w, by)));
    }
    return {(double)peak, sum};
}

extern "C" __global__ void __launch_bounds__(TEAMS* THREADS, RESIDENT)
    softmax(const u16* x, u16* y, u64 count, u32 length, u32 slice, u32 stages) {
    extern __shared__ __align__(128) unsigned char dynamic[];
    __shared__ Memory memory;
    Team me = team_of(length, slice);
    const u32 vectors = slice / PER_VECTOR, bytes = me.vectors * (u32)sizeof(uint4);
    uint4* ring = (uint4*)dynamic + me.team * stages * vectors;
    make_barriers(memory, stages);
    const u64 step = me.clusters * TEAMS;
    u64 ahead = me.row;
    if (me.leads())
        for (u32 stage = 0; stage < stages && ahead < count; ++stage, ahead += step)
            fetch(ring + stage * vectors, x + ahead * length + me.begin, bytes, &memory.full[me.team][stage]);
    u32 stage = 0, parity = 0, turn = 0;
    for (u64 row = me.row; row < count; row += step) {
        const uint4* own = ring + stage * vectors;
        await(&memory.full[me.team][stage], parity);
        const Pair sums = of_row(me, memory.usual[me.team], turn++, sums_of(me, own), Peaks());
        const float peak = (float)sums.first;
        const Scale by(peak);
        // An infinite peak, or NaN, makes NaN of the row.
        const float share = (float)(1.0 / sums.second * LOWERED) + peak * 0.0f;
        const float minus = RAISED - by.shift;
        uint4* to = (uint4*)(y + row * length + me.begin);
#pragma unroll 4
        for (int i = me.thread; i < me.vectors; i += THREADS) {
            const uint4 v = own[i];
            const uint4 result = make_uint4(
                pair_of_results(v.x, by.slope, minus, share), pair_of_results(v.y, by.slope, minus, share),
                pair_of_results(v.z, by.slope, minus, share), pair_of_results(v.w, by.slope, minus, share));
            store(to + i, result);
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
