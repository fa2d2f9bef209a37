// One analogue read, as array.py has it: what the compiled model and co-simulation share.

#pragma once

#include <algorithm>
#include <cstdint>

namespace reram {

// As in kernel.py.
struct Shape {
    int64_t planes, fragments, rows, slices, outputs, input_bits, cell_bits, top, adc_top, fraction,
        skip, noise, noise_fraction, seed;
};

// Of an exact ADC: the nearest level, saturated.
template <typename Sum>
inline int32_t nearest(Sum sum, int32_t half, int fraction, int32_t top) {
    return std::min(std::max((int32_t(sum) + half) >> fraction, 0), top);
}

// Of an ADC with these thresholds, ascending: how many are not above the sum.
template <typename Sum>
inline int32_t converted(Sum sum, const int32_t* thresholds, int32_t half, int fraction,
                         int32_t top) {
    int32_t code = nearest(sum, half, fraction, top);
    while (code < top && thresholds[code] <= sum) code++;  // mostly at once
    while (code > 0 && thresholds[code - 1] > sum) code--;
    return code;
}

// The index of the first column's read, in the order [row][plane][fragment][bit][slice][output].
inline uint64_t first_read(const Shape& s, uint64_t row, int64_t plane, int64_t fragment,
                           int64_t bit) {
    const uint64_t place = (row * s.planes + plane) * s.fragments + fragment;
    return (place * s.input_bits + bit) * s.slices * s.outputs;
}

// The noise of one read: SplitMix64 of its index.
inline int32_t noise(const Shape& s, const int32_t* deviates, uint64_t index) {
    uint64_t z = (index + uint64_t(s.seed) * 0xBF58476D1CE4E5B9ull) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return int32_t((int64_t(deviates[z >> 48]) * s.noise) >> s.noise_fraction);
}

}  // namespace reram
