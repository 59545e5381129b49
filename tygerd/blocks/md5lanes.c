/* MD5 (RFC 1321) of several messages at once, one in each lane of a vector register.

   The steps of MD5 depend on each other, so that one message leaves most of a core idle: eight side by side, a
   group, take hardly longer than one, and two groups in turns half as long again as one. Plain C without Python's
   headers; `md5lanes.py` loads it. It keeps no state, any number of threads may be in it. Only for x86-64 with
   AVX2, which `md5lanes_width` finds out at run time.

     cc -O3 -fPIC -shared -o libmd5lanes.so md5lanes.c
*/

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if !defined(__x86_64__)

int md5lanes_width(void) { return 0; }

#else

#include <immintrin.h>

#define GROUP 8           /* lanes of one register */
#define WIDTH (2 * GROUP) /* lanes */
#define BLOCK 64          /* bytes that one round of 64 steps takes */
#define PIECE (32 * 1024) /* bytes read at a time: one of each lane stays in a core's second-level cache */
#define BUFFER (PIECE + 2 * BLOCK) /* a piece, and the padding behind the last one */
#define SHORT_FILE (-1) /* in place of an errno */

typedef uint32_t lanes __attribute__((vector_size(4 * GROUP), may_alias));

/* --- the algorithm, RFC 1321 section 3.4 ------------------------------------------------------------------- */

/* floor(2^32 * abs(sin(i + 1))) */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static const int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
static const int strides[4][2] = {{0, 1}, {1, 5}, {5, 3}, {0, 7}}; /* the word of step i: (first + i * stride) % 16 */

/* The 64 steps on `count` states at once: a word of each in `s[..][0..3]`, of a type that is a number or a vector of
   them; `w[..]` hold the sixteen words of the messages' blocks. The loops are unrolled, so that everything indexed is
   a register. The second function adds its halves where the RFC joins them by `or` (they have no bit in common): a
   shorter chain. */
#define STEPS(type, count, s, w)                                                                             \
    do {                                                                                                     \
        type a[count], b[count], c[count], d[count];                                                         \
        for (int g = 0; g < count; g++) a[g] = (s)[g][0], b[g] = (s)[g][1], c[g] = (s)[g][2], d[g] = (s)[g][3]; \
        _Pragma("GCC unroll 64") for (int i = 0; i < 64; i++) {                                              \
            const int round = i / 16, left = shifts[round][i % 4];                                           \
            const int word = (strides[round][0] + i * strides[round][1]) % 16;                               \
            _Pragma("GCC unroll 2") for (int g = 0; g < count; g++) {                                        \
                a[g] += (w)[g][word] + sines[i];                                                             \
                if (round == 1) {                                                                            \
                    a[g] += c[g] & ~d[g];                                                                    \
                    a[g] += b[g] & d[g];                                                                     \
                } else                                                                                       \
                    a[g] += round == 0   ? d[g] ^ (b[g] & (c[g] ^ d[g]))                                     \
                            : round == 2 ? b[g] ^ c[g] ^ d[g]                                                \
                                         : c[g] ^ (b[g] | ~d[g]);                                            \
                type turned = b[g] + ((a[g] << left) | (a[g] >> (32 - left)));                               \
                a[g] = d[g], d[g] = c[g], c[g] = b[g], b[g] = turned;                                        \
            }                                                                                                \
        }                                                                                                    \
        for (int g = 0; g < count; g++) (s)[g][0] += a[g], (s)[g][1] += b[g], (s)[g][2] += c[g], (s)[g][3] += d[g]; \
    } while (0)

static void compress_one(uint32_t state[1][4], const uint8_t *data, uint64_t blocks) {
    for (; blocks; blocks--, data += BLOCK) {
        uint32_t w[1][16];
        memcpy(w, data, BLOCK);
        STEPS(uint32_t, 1, state, w);
    }
}

/* Half a block of each lane of a group, turned from a row a lane into a row a word. */
__attribute__((target("avx2"))) static inline void transpose(const uint8_t *const *data, size_t at, lanes w[8]) {
    __m256i row[8], pair[8], quad[8];
    for (int i = 0; i < 8; i++) row[i] = _mm256_loadu_si256((const __m256i *)(data[i] + at));
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm256_unpacklo_epi32(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        quad[i] = _mm256_unpacklo_epi64(pair[i], pair[i + 2]);
        quad[i + 1] = _mm256_unpackhi_epi64(pair[i], pair[i + 2]);
        quad[i + 2] = _mm256_unpacklo_epi64(pair[i + 1], pair[i + 3]);
        quad[i + 3] = _mm256_unpackhi_epi64(pair[i + 1], pair[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        w[i] = (lanes)_mm256_permute2x128_si256(quad[i], quad[i + 4], 0x20);
        w[i + 4] = (lanes)_mm256_permute2x128_si256(quad[i], quad[i + 4], 0x31);
    }
}

/* The lanes of one group, or of both. Lane `i` goes `step[i]` bytes on after each block: BLOCK, or 0 in a lane without
   work, whose result is of no use. */
#define COMPRESS(name, groups)                                                                               \
    __attribute__((target("avx2"))) static void name(                                                        \
        uint32_t state[groups][4][GROUP], const uint8_t *const *start, const size_t *step, uint64_t blocks) { \
        lanes s[groups][4], w[groups][16];                                                                   \
        const uint8_t *data[groups * GROUP];                                                                 \
        memcpy(s, state, sizeof s);                                                                          \
        memcpy(data, start, sizeof data);                                                                    \
        for (; blocks; blocks--) {                                                                           \
            for (int g = 0; g < groups; g++) {                                                               \
                transpose(data + g * GROUP, 0, w[g]);                                                        \
                transpose(data + g * GROUP, BLOCK / 2, w[g] + 8);                                            \
            }                                                                                                \
            for (int i = 0; i < groups * GROUP; i++) data[i] += step[i];                                     \
            STEPS(lanes, groups, s, w);                                                                      \
        }                                                                                                    \
        memcpy(state, s, sizeof s);                                                                          \
    }
COMPRESS(compress_group, 1)
COMPRESS(compress_both, 2)

/* --- messages, which come and go at their own times --------------------------------------------------------- */

struct message {
    int fd; /* or -1: it is in memory */
    const uint8_t *data;
    uint64_t length, taken; /* `taken` bytes of it are in `ready`, or were */
    const uint8_t *ready;   /* what is to be hashed next: `blocks` whole blocks */
    uint64_t blocks;
    int ended; /* the padding is in `ready`, or was */
    uint8_t *buffer;
};

/* Put the last bytes, fewer than a block, behind them the padding and the length (RFC 1321 3.1, 3.2): it fits. */
static void pad(struct message *m, uint8_t *end, size_t rest) {
    uint64_t bits = m->length * 8;
    m->blocks += rest + 9 <= BLOCK ? 1 : 2;
    size_t total = rest + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    memset(end + rest, 0, total - rest);
    end[rest] = 0x80;
    memcpy(end + total - 8, &bits, 8);
    m->ended = 1;
}

/* Make more of a message ready. 0, or why that cannot be. */
static int refill(struct message *m) {
    uint64_t left = m->length - m->taken;
    if (m->fd < 0) {
        m->ready = m->data + m->taken;
        m->blocks = left / BLOCK;
        m->taken += m->blocks * BLOCK;
        if (m->blocks == 0) {
            if (left) memcpy(m->buffer, m->ready, left);
            m->taken = m->length;
            m->ready = m->buffer;
            pad(m, m->buffer, left);
        }
        return 0;
    }
    size_t wanted = left < PIECE ? left : PIECE, got = 0;
    while (got < wanted) {
        ssize_t count = pread(m->fd, m->buffer + got, wanted - got, (off_t)(m->taken + got));
        if (count == 0) return SHORT_FILE;
        if (count > 0)
            got += (size_t)count;
        else if (errno != EINTR)
            return errno;
    }
    m->taken += got;
    m->ready = m->buffer;
    m->blocks = got / BLOCK;
    if (m->taken == m->length) pad(m, m->buffer + m->blocks * BLOCK, got % BLOCK);
    return 0;
}

/* Hash all of them, each in the first lane that is free. `memory` is a BUFFER for each lane. */
static void hash(size_t count, struct message *messages, uint8_t *memory, uint8_t (*digest)[16], int *error) {
    uint32_t state[2][4][GROUP];
    struct message *in[WIDTH] = {NULL};
    size_t next = 0;
    for (;;) {
        const uint8_t *data[WIDTH];
        size_t step[WIDTH];
        uint64_t blocks = UINT64_MAX;
        int busy[2] = {0, 0}, last = 0;
        for (int lane = 0; lane < WIDTH; lane++) {
            uint32_t(*words)[GROUP] = state[lane / GROUP];
            const int at = lane % GROUP;
            data[lane] = memory; /* something that can be read, where there is no work */
            step[lane] = 0;
            while (in[lane] == NULL || in[lane]->blocks == 0) {
                struct message *m = in[lane];
                if (m == NULL) {
                    if (next == count) break;
                    m = in[lane] = &messages[next++];
                    m->buffer = memory + lane * BUFFER;
                    words[0][at] = 0x67452301, words[1][at] = 0xefcdab89;
                    words[2][at] = 0x98badcfe, words[3][at] = 0x10325476;
                } else if (m->ended) {
                    for (int i = 0; i < 4; i++) memcpy(digest[m - messages] + 4 * i, &words[i][at], 4);
                    in[lane] = NULL;
                    continue;
                }
                if ((error[m - messages] = refill(m)) != 0) in[lane] = NULL;
            }
            if (in[lane] != NULL) {
                data[lane] = in[lane]->ready;
                step[lane] = BLOCK;
                if (in[lane]->blocks < blocks) blocks = in[lane]->blocks;
                busy[lane / GROUP]++;
                last = lane;
            }
        }
        const int all = busy[0] + busy[1], group = busy[0] ? 0 : 1;
        if (all == 0) return;
        if (all == 1) {
            uint32_t one[1][4];
            for (int i = 0; i < 4; i++) one[0][i] = state[group][i][last % GROUP];
            compress_one(one, data[last], blocks);
            for (int i = 0; i < 4; i++) state[group][i][last % GROUP] = one[0][i];
        } else if (busy[0] && busy[1])
            compress_both(state, data, step, blocks);
        else
            compress_group(&state[group], &data[group * GROUP], &step[group * GROUP], blocks);
        for (int lane = 0; lane < WIDTH; lane++)
            if (in[lane] != NULL) {
                in[lane]->ready += blocks * BLOCK;
                in[lane]->blocks -= blocks;
            }
    }
}

/* --- what is called ------------------------------------------------------------------------------------------ */

/* How many messages take hardly longer than one; 0 where this processor cannot do it. */
int md5lanes_width(void) { return __builtin_cpu_supports("avx2") ? WIDTH : 0; }

/* The digests of messages of `length` bytes; blocking. Each is the beginning of the open file `fd`, whose position
   is left alone, or where that is -1 it is at `data`. `error` becomes 0, an errno, or -1 for a file that is shorter;
   then there is no digest. */
void md5lanes_hash(size_t count, const int *fd, const uint8_t *const *data, const uint64_t *length,
                   uint8_t (*digest)[16], int *error) {
    struct message *messages = calloc(count, sizeof *messages);
    uint8_t *memory = malloc(WIDTH * BUFFER);
    for (size_t i = 0; i < count; i++) {
        error[i] = messages && memory ? 0 : ENOMEM;
        if (messages) messages[i].fd = fd[i], messages[i].data = data[i], messages[i].length = length[i];
    }
    if (messages && memory) hash(count, messages, memory, digest, error);
    free(memory);
    free(messages);
}

#endif
