// The golden crossbar of array.py, compiled: the same integers, bit for bit.
//
// Two ways.  A fragment of few rows has few input patterns, and what a chip without read noise
// answers to each is fixed: respond() tabulates it, slices, ADCs and signs included, and gather()
// adds table rows up.  direct() reads every column of every step.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "read.h"

using reram::Shape;
enum Skip { NONE, LEADING, ANY };

// One plane of one fragment.
template <typename Level>
struct Fragment {
    const Shape& s;
    const Level* cells;         // [rows][columns], columns = slices * outputs
    const uint8_t* flipped;     // [columns]
    const int8_t* signs;        // [outputs]
    const int32_t* thresholds;  // [ADCs][adc_top] or null
    const int32_t* adc;         // [columns]
    int64_t columns;
    std::vector<int32_t> ones, codes;  // decoded = ones * number of driven rows + codes * code

    Fragment(const Shape& s, int64_t plane, int64_t fragment, const Level* cells,
             const uint8_t* flipped, const int8_t* signs, const int32_t* thresholds,
             const int32_t* adc)
        : s(s), thresholds(thresholds), columns(s.slices * s.outputs), ones(columns),
          codes(columns) {
        const int64_t index = plane * s.fragments + fragment;
        this->cells = cells + index * s.rows * columns;
        this->flipped = flipped + index * columns;
        this->signs = signs + index * s.outputs;
        this->adc = thresholds ? adc + index * columns : nullptr;
        for (int64_t c = 0; c < columns; c++) {
            const int32_t sign = this->signs[c % s.outputs];
            ones[c] = this->flipped[c] ? sign * int32_t(s.top) : 0;
            codes[c] = this->flipped[c] ? -sign : sign;
        }
    }

    // total[outputs] += what the columns' sums mean with so many rows driven.
    template <typename Sum>
    void decode(const Sum* sums, int32_t driven, int32_t* __restrict total) const {
        const int32_t half = 1 << s.fraction >> 1, top = int32_t(s.adc_top);
        const int fraction = int(s.fraction);
        for (int64_t slice = 0; slice < s.slices; slice++) {
            const int64_t at = slice * s.outputs;
            const int shift = int(slice * s.cell_bits);
            const int32_t* __restrict one = &ones[at];
            const int32_t* __restrict per = &codes[at];
            const Sum* __restrict sum = sums + at;
            if (thresholds) {
                for (int64_t n = 0; n < s.outputs; n++) {
                    const int32_t* low = thresholds + int64_t(adc[at + n]) * s.adc_top;
                    const int32_t code = reram::converted(sum[n], low, half, fraction, top);
                    total[n] += (one[n] * driven + per[n] * code) << shift;
                }
            } else {
                for (int64_t n = 0; n < s.outputs; n++) {
                    const int32_t code = reram::nearest(sum[n], half, fraction, top);
                    total[n] += (one[n] * driven + per[n] * code) << shift;
                }
            }
        }
    }
};

// Bit b of every row, packed: an 8 x 8 transposition (Warren, Hacker's Delight, 7-3).
static inline uint64_t transposed(uint64_t x) {
    uint64_t t;
    t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull, x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull, x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull, x ^= t ^ (t << 28);
    return x;
}

// How many bits to look at, and whether to pass over those that are all 0.
static inline int64_t reads(const Shape& s, uint64_t any) {
    if (s.skip == NONE) return s.input_bits;
    return any ? 64 - __builtin_clzll(any) : 0;
}

constexpr int BLOCK = 16;  // outputs; tables are filled up to a multiple

template <typename Entry, typename Sum>
static void gather(const Shape& s, int64_t batch, const uint16_t* inputs, const Entry* tables,
                   int64_t* out) {
    const int64_t width = (s.outputs + BLOCK - 1) / BLOCK * BLOCK;
    const int64_t patterns = int64_t(1) << s.rows;
    constexpr int64_t AT_ONCE = 64;  // rows whose sums stay in the cache while fragments pass
    std::vector<Sum> sums(AT_ONCE * width);
    for (int64_t start = 0; start < batch; start += AT_ONCE) {
        const int64_t count = std::min(AT_ONCE, batch - start);
        std::fill(sums.begin(), sums.end(), Sum(0));
        for (int64_t f = 0; f < s.fragments; f++) {
            const Entry* table = tables + f * patterns * width;
            for (int64_t i = 0; i < count; i++) {
                const uint16_t* x = inputs + ((start + i) * s.fragments + f) * s.rows;
                uint64_t low = 0, high = 0;
                uint16_t any = 0;
                for (int64_t r = 0; r < s.rows; r++) {
                    low |= uint64_t(x[r] & 255) << 8 * r;
                    high |= uint64_t(x[r] >> 8) << 8 * r;
                    any |= x[r];
                }
                low = transposed(low), high = transposed(high);
                const Entry* rows[16];
                int shifts[16], used = 0;
                const int64_t last = reads(s, any);
                for (int64_t b = 0; b < last; b++) {
                    const uint64_t pattern = (b < 8 ? low >> 8 * b : high >> 8 * (b - 8)) & 255;
                    if (pattern || s.skip != ANY) {
                        rows[used] = table + pattern * width;
                        shifts[used++] = int(b);
                    }
                }
                Sum* sum = sums.data() + i * width;
                for (int64_t n = 0; n < width; n += BLOCK) {
                    Sum block[BLOCK];
                    std::memcpy(block, sum + n, sizeof block);
                    for (int k = 0; k < used; k++)
                        for (int j = 0; j < BLOCK; j++) block[j] += Sum(rows[k][n + j]) << shifts[k];
                    std::memcpy(sum + n, block, sizeof block);
                }
            }
        }
        for (int64_t i = 0; i < count; i++)
            for (int64_t n = 0; n < s.outputs; n++)
                out[(start + i) * s.outputs + n] = sums[i * width + n];
    }
}

template <typename Level>
static void direct(const Shape& s, int64_t batch, int64_t first, const uint16_t* inputs,
                   const Level* cells, const uint8_t* flipped, const int8_t* signs,
                   const int32_t* thresholds, const int32_t* adc, const int32_t* deviates,
                   int64_t* out) {
    const int64_t columns = s.slices * s.outputs, groups = (s.rows + 3) / 4;
    std::vector<Level> table(groups * 16 * columns);  // sums of four rows, for every pattern
    std::vector<Level> sums(columns);
    std::vector<int32_t> noisy(columns), total(s.outputs);
    std::vector<uint8_t> pattern(groups);
    for (int64_t p = 0; p < s.planes; p++) {
        for (int64_t f = 0; f < s.fragments; f++) {
            const Fragment<Level> fragment(s, p, f, cells, flipped, signs, thresholds, adc);
            std::fill(table.begin(), table.end(), Level(0));
            for (int64_t g = 0; g < groups; g++) {
                for (int64_t k = 1; k < 16; k++) {
                    const int64_t r = 4 * g + __builtin_ctzll(k);
                    if (r >= s.rows) continue;
                    const Level* before = &table[(g * 16 + (k & (k - 1))) * columns];
                    const Level* row = fragment.cells + r * columns;
                    Level* sum = &table[(g * 16 + k) * columns];
                    for (int64_t c = 0; c < columns; c++) sum[c] = Level(before[c] + row[c]);
                }
            }
            for (int64_t i = 0; i < batch; i++) {
                const uint16_t* x = inputs + (i * s.fragments + f) * s.rows;
                uint16_t any = 0;
                for (int64_t r = 0; r < s.rows; r++) any |= x[r];
                const int64_t last = reads(s, any);
                for (int64_t b = 0; b < last; b++) {
                    if (s.skip == ANY && !(any >> b & 1)) continue;
                    std::fill(pattern.begin(), pattern.end(), uint8_t(0));
                    int32_t driven = 0;
                    for (int64_t r = 0; r < s.rows; r++) {
                        pattern[r / 4] |= (x[r] >> b & 1) << r % 4;
                        driven += x[r] >> b & 1;
                    }
                    std::fill(sums.begin(), sums.end(), Level(0));
                    for (int64_t g = 0; g < groups; g++) {
                        if (!pattern[g]) continue;
                        const Level* row = &table[(g * 16 + pattern[g]) * columns];
                        for (int64_t c = 0; c < columns; c++) sums[c] += row[c];
                    }
                    std::fill(total.begin(), total.end(), 0);
                    if (s.noise) {
                        const uint64_t index = reram::first_read(s, first + i, p, f, b);
                        for (int64_t c = 0; c < columns; c++)
                            noisy[c] = sums[c] + reram::noise(s, deviates, index + c);
                        fragment.decode(noisy.data(), driven, total.data());
                    } else {
                        fragment.decode(sums.data(), driven, total.data());
                    }
                    int64_t* row = out + i * s.outputs;
                    for (int64_t n = 0; n < s.outputs; n++) row[n] += int64_t(total[n]) << b;
                }
            }
        }
    }
}

extern "C" {

// tables[fragments][2**rows][width] = what the chip answers to a pattern, planes added up; int32.
void respond(const Shape* shape, const int32_t* cells, const uint8_t* flipped, const int8_t* signs,
             const int32_t* thresholds, const int32_t* adc, int32_t* tables) {
    const Shape& s = *shape;
    const int64_t width = (s.outputs + BLOCK - 1) / BLOCK * BLOCK, columns = s.slices * s.outputs;
    std::vector<int32_t> sums(columns);
    for (int64_t p = 0; p < s.planes; p++) {
        for (int64_t f = 0; f < s.fragments; f++) {
            const Fragment<int32_t> fragment(s, p, f, cells, flipped, signs, thresholds, adc);
            std::fill(sums.begin(), sums.end(), 0);
            for (int64_t i = 0; i < int64_t(1) << s.rows; i++) {  // in Gray's order
                const int64_t pattern = i ^ (i >> 1);
                if (i) {
                    const int64_t r = __builtin_ctzll(i);
                    const int32_t* row = fragment.cells + r * columns;
                    const int32_t sign = pattern >> r & 1 ? 1 : -1;
                    for (int64_t c = 0; c < columns; c++) sums[c] += sign * row[c];
                }
                fragment.decode(sums.data(), __builtin_popcountll(pattern),
                                tables + ((f << s.rows) + pattern) * width);
            }
        }
    }
}

void gather_16_32(const Shape* s, int64_t batch, const uint16_t* inputs, const int16_t* tables,
                  int64_t* out) {
    gather<int16_t, int32_t>(*s, batch, inputs, tables, out);
}

void gather_32_64(const Shape* s, int64_t batch, const uint16_t* inputs, const int32_t* tables,
                  int64_t* out) {
    gather<int32_t, int64_t>(*s, batch, inputs, tables, out);
}

void direct_16(const Shape* s, int64_t batch, int64_t first, const uint16_t* inputs,
               const int16_t* cells, const uint8_t* flipped, const int8_t* signs,
               const int32_t* thresholds, const int32_t* adc, const int32_t* deviates,
               int64_t* out) {
    direct(*s, batch, first, inputs, cells, flipped, signs, thresholds, adc, deviates, out);
}

void direct_32(const Shape* s, int64_t batch, int64_t first, const uint16_t* inputs,
               const int32_t* cells, const uint8_t* flipped, const int8_t* signs,
               const int32_t* thresholds, const int32_t* adc, const int32_t* deviates,
               int64_t* out) {
    direct(*s, batch, first, inputs, cells, flipped, signs, thresholds, adc, deviates, out);
}
}
