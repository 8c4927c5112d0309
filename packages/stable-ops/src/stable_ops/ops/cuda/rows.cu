// Rows that stream through shared memory: what the kernels for long rows have in common.
//
// A cluster of thread blocks takes row after row, each block the same slice of every one. The copy engine fetches
// slices of rows to come while one is worked on. In a block there are TEAMS teams of THREADS threads, each with its own rows
// and its own ring of stages, so that one computes while another waits for the sums of the other blocks. Those
// go from block to block through shared memory, with a barrier that counts their bytes.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MOST_BLOCKS 16
#define MOST_STAGES 16
#define WARPS (THREADS / 32)
#define PER_VECTOR 8
#define DEVICE __device__ __forceinline__

struct __align__(16) Pair {
    double first, second;
};

struct __align__(16) Vector {
    u64 low, high;
};

DEVICE u32 in_shared(const void* place) { return (u32)__cvta_generic_to_shared(place); }

DEVICE u32 special_rank() {
    u32 value;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(value));
    return value;
}

DEVICE u32 special_blocks() {
    u32 value;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(value));
    return value;
}

DEVICE void meet_cluster() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

DEVICE void meet_team(int team) {
#if THREADS == 32
    __syncwarp();
#else
    // A block has 16 barriers, and __syncthreads takes the first.
    static_assert(TEAMS < 16, "more teams than barriers");
    asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "n"(THREADS) : "memory");
#endif
}

DEVICE void make_barrier(u64* barrier) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(in_shared(barrier)) : "memory");
}

// To other threads and to the copy engine.
DEVICE void show_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory");
}

// The only arrival of a phase, which ends when that many bytes have come.
DEVICE void expect(u64* barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(in_shared(barrier)), "r"(bytes)
                 : "memory");
}

DEVICE void await(u64* barrier, u32 parity) {
    u32 done;
    do {
        asm volatile(
            "{\n.reg .pred done;\n"
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%1], %2;\n"
            "selp.u32 %0, 1, 0, done;\n}"
            : "=r"(done)
            : "r"(in_shared(barrier)), "r"(parity)
            : "memory");
    } while (!done);
}

DEVICE void copy(void* to, const void* from, u32 bytes, u64* barrier) {
#if STREAMED
    u64 once;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(once));
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
            "r"(in_shared(to)),
        "l"(from), "r"(bytes), "r"(in_shared(barrier)), "l"(once)
        : "memory");
#else
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     in_shared(to)),
                 "l"(from), "r"(bytes), "r"(in_shared(barrier))
                 : "memory");
#endif
}

DEVICE void store(uint4* to, uint4 v) {
#if STREAMED
    asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
#else
    *to = v;
#endif
}

DEVICE void fetch(void* to, const void* from, u32 bytes, u64* barrier) {
    expect(barrier, bytes);
    if (bytes) copy(to, from, bytes, barrier);
}

// 16 bytes to the same place of another block, which its barrier counts.
DEVICE void send(Pair* place, u64* barrier, u32 block, Pair pair) {
    asm volatile(
        "{\n.reg .b32 there, bell;\n"
        "mapa.shared::cluster.u32 there, %0, %4;\n"
        "mapa.shared::cluster.u32 bell, %1, %4;\n"
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f64 [there], {%2, %3}, [bell];\n}" ::"r"(
            in_shared(place)),
        "r"(in_shared(barrier)), "d"(pair.first), "d"(pair.second), "r"(block)
        : "memory");
}

DEVICE double of_lane(double value, int across) { return __shfl_xor_sync(0xffffffff, value, across); }

struct Exchange {
    u64 bells[2];
    Pair warps[WARPS];
    Pair blocks[2][MOST_BLOCKS];
};

struct Memory {
    u64 full[TEAMS][MOST_STAGES];
    Exchange usual[TEAMS], rare[TEAMS];
};

struct Team {
    int team, thread, lane, warp;
    u32 rank, blocks;
    int begin, vectors;
    u64 clusters, row;

    DEVICE bool leads() const { return thread == 0; }
};

DEVICE Team team_of(u32 length, u32 slice) {
    Team me;
    me.team = threadIdx.x / THREADS;
    me.thread = threadIdx.x % THREADS;
    me.lane = threadIdx.x % 32;
    me.warp = me.thread / 32;
    me.rank = special_rank();
    me.blocks = special_blocks();
    me.begin = me.rank * slice;
    int left = (int)length - me.begin;
    me.vectors = (left < 0 ? 0 : left < (int)slice ? left : (int)slice) / PER_VECTOR;
    me.clusters = gridDim.x / me.blocks;
    me.row = blockIdx.x / me.blocks + me.clusters * me.team;
    return me;
}

DEVICE void make_barriers(Memory& memory, u32 stages) {
    if (threadIdx.x == 0) {
        for (int team = 0; team < TEAMS; ++team) {
            for (u32 stage = 0; stage < stages; ++stage) make_barrier(&memory.full[team][stage]);
            for (int i = 0; i < 2; ++i) {
                make_barrier(&memory.usual[team].bells[i]);
                make_barrier(&memory.rare[team].bells[i]);
            }
        }
        show_barriers();
    }
    __syncthreads();
    meet_cluster();
}

// What COMBINE makes of what each thread has, in an order that depends on the numbers of warps and blocks alone.
// `turn` counts the calls with this exchange.
// COMBINE(pair, lanes) answers in all lanes for groups of so many, a power of two.
template <class Combine>
DEVICE Pair of_row(const Team& me, Exchange& exchange, u32 turn, Pair mine, Combine combine) {
    mine = combine(mine, 32);
    if (me.lane == 0) exchange.warps[me.warp] = mine;
    meet_team(me.team);
    const u32 slot = turn & 1;
    if (me.blocks == 1 || me.warp == 0) {
        mine = combine(exchange.warps[me.lane % WARPS], WARPS);
    }
    if (me.blocks == 1) return mine;
    if (me.warp == 0 && me.lane < (int)me.blocks)
        send(&exchange.blocks[slot][me.rank], &exchange.bells[slot], me.lane, mine);
    if (me.leads()) expect(&exchange.bells[slot], me.blocks * (u32)sizeof(Pair));
    await(&exchange.bells[slot], (turn >> 1) & 1);
    const u32 block = me.lane % MOST_BLOCKS;
    mine = block < me.blocks ? exchange.blocks[slot][block] : Combine::nothing();
    return combine(mine, MOST_BLOCKS);
}
