// What the crossbars of a chip read, for a simulator that asks through DPI; analogue.py writes the
// file that holds the chip.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "../models/reram/read.h"
#include "svdpi.h"

namespace {

// As in analogue.py.
struct Header {
    reram::Shape shape;
    // How crossbars divide what the shape is of: the layer's matrix.
    int64_t down, across, fragments, outputs, scan, adcs, adc_outputs, adc_bits;
    int64_t deviates, thresholds;  // how many; no thresholds where ADCs are exact
};

class Chip {
public:
    Chip(const char* path, int64_t rows, int64_t bits) {
        const int descriptor = open(path, O_RDONLY);
        struct stat status = {};
        if (descriptor >= 0 && !fstat(descriptor, &status)) {
            bytes = status.st_size;
            held = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        }
        if (descriptor >= 0) close(descriptor);
        if (held == MAP_FAILED)
            throw std::runtime_error("no chip in '" + std::string(path) +
                                     "'; +thresher_chip= names its file");
        const Header& h = header();
        const reram::Shape& s = h.shape;
        const int64_t columns = s.planes * s.fragments * s.slices * s.outputs;
        cells = reinterpret_cast<const int32_t*>(&h + 1);
        deviates = cells + columns * s.rows;
        thresholds = deviates + h.deviates;
        adc = thresholds + h.thresholds;
        if (s.rows != rows || h.scan * h.adcs * h.adc_bits != bits) {
            munmap(held, bytes);
            throw std::runtime_error("the chip in '" + std::string(path) +
                                     "' is of another configuration");
        }
        sums.resize(s.slices * h.outputs);
    }

    ~Chip() { munmap(held, bytes); }

    // Codes of every column of crossbar `number`, that of column j of ADC q at j*adcs + q.
    void read(int64_t number, int64_t fragment, int64_t bit, uint64_t vector,
              const svBitVecVal* lines, svBitVecVal* codes) {
        const Header& h = header();
        const reram::Shape& s = h.shape;
        const int64_t plane = number / (h.down * h.across);
        const int64_t f = number / h.across % h.down * h.fragments + fragment;
        const int64_t first = number % h.across * h.outputs;
        std::fill_n(codes, (h.scan * h.adcs * h.adc_bits + 31) / 32, 0);
        if (f >= s.fragments) return;  // nothing lies there
        const int64_t count = std::min(h.outputs, s.outputs - first);
        const int64_t at = plane * s.fragments + f, columns = s.slices * s.outputs;
        std::fill(sums.begin(), sums.end(), 0);
        for (int64_t r = 0; r < s.rows; r++) {
            if (!(lines[r / 32] >> r % 32 & 1)) continue;
            for (int64_t slice = 0; slice < s.slices; slice++) {
                const int32_t* cell =
                    cells + (at * s.rows + r) * columns + slice * s.outputs + first;
                int32_t* sum = &sums[slice * h.outputs];
                for (int64_t n = 0; n < count; n++) sum[n] += cell[n];
            }
        }
        const uint64_t index = reram::first_read(s, vector, plane, f, bit);
        const int32_t half = 1 << s.fraction >> 1, top = int32_t(s.adc_top);
        const int fraction = int(s.fraction);
        for (int64_t slice = 0; slice < s.slices; slice++) {
            for (int64_t n = 0; n < count; n++) {
                const int64_t column = slice * s.outputs + first + n;
                int32_t sum = sums[slice * h.outputs + n];
                if (s.noise) sum += reram::noise(s, deviates, index + column);
                const int32_t* low =
                    h.thresholds ? thresholds + adc[at * columns + column] * s.adc_top : nullptr;
                const uint32_t code = low ? reram::converted(sum, low, half, fraction, top)
                                          : reram::nearest(sum, half, fraction, top);
                const int64_t j = n % h.adc_outputs * s.slices + slice, q = n / h.adc_outputs;
                const int64_t place = (j * h.adcs + q) * h.adc_bits, shift = place % 32;
                codes[place / 32] |= code << shift;
                if (shift + h.adc_bits > 32) codes[place / 32 + 1] |= code >> (32 - shift);
            }
        }
    }

private:
    void* held = MAP_FAILED;
    size_t bytes = 0;
    const int32_t *cells, *deviates, *thresholds, *adc;
    std::vector<int32_t> sums;

    const Header& header() const { return *static_cast<const Header*>(held); }
};

}  // namespace

extern "C" {

void* thresher_chip_open(const char* path, int rows, int bits) {
    return new Chip(path, rows, bits);
}

void thresher_chip_close(void* chip) { delete static_cast<Chip*>(chip); }

void thresher_chip_read(void* chip, unsigned number, unsigned fragment, unsigned bit,
                        unsigned vector, const svBitVecVal* lines, svBitVecVal* codes) {
    static_cast<Chip*>(chip)->read(number, fragment, bit, vector, lines, codes);
}
}
