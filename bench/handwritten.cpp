// A simulation of the sparse LSTM as one writes it by hand: the yardstick for the harness.
//
//     handwritten STIMULUS REPEATS
//
// STIMULUS: for each of weights, biases, x and h the number of beats and of bytes a
// beat (int64), then the beats of all (h: the golden ones).  Prints the cycles of a
// run and the seconds of the fastest of REPEATS.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

struct Beats {
    int64_t count, size;
    std::vector<uint8_t> data;
    const uint8_t* operator[](int64_t beat) const { return data.data() + beat * size; }
};

int main(int, char** argv) {
    FILE* file = std::fopen(argv[1], "rb");
    Beats weights, biases, x, h;
    for (Beats* beats : {&weights, &biases, &x, &h}) {
        if (std::fread(beats, sizeof(int64_t), 2, file) != 2) return 2;
    }
    for (Beats* beats : {&weights, &biases, &x, &h}) {
        beats->data.resize(beats->count * beats->size);
        if (std::fread(beats->data.data(), 1, beats->data.size(), file) != beats->data.size()) return 2;
    }
    double fastest = 1e9;
    int64_t cycles = 0;
    for (int repeat = 0; repeat < std::atoi(argv[2]); ++repeat) {
        VerilatedContext context;
        Vtop top{&context};
        std::vector<uint8_t> received(h.data.size());
        const auto began = std::chrono::steady_clock::now();
        top.rst = 1;
        for (int i = 0; i < 8; ++i) {
            top.clk = i & 1;
            top.eval();
        }
        top.rst = 0;
        top.h___05Fready = 1;
        top.skip_inputs = top.skip_states = 1;
        int64_t weight = 0, bias = 0, input = 0, output = 0;
        int64_t last = 0;
        for (cycles = 0; output < h.count; ++cycles) {
            if (cycles - last > 1000000) {
                std::fprintf(stderr, "beat %lld of h never came\n", static_cast<long long>(output));
                return 1;
            }
            top.weights___05Fvalid = weight < weights.count;
            if (weight < weights.count)
                std::memcpy(&top.weights___05Fpayload, weights[weight], weights.size);
            top.biases___05Fvalid = bias < biases.count;
            if (bias < biases.count)
                std::memcpy(&top.biases___05Fpayload, biases[bias], biases.size);
            top.x___05Fvalid = input < x.count;
            if (input < x.count) std::memcpy(&top.x___05Fpayload, x[input], x.size);
            top.clk = 0;
            top.eval();
            weight += top.weights___05Fvalid && top.weights___05Fready;
            bias += top.biases___05Fvalid && top.biases___05Fready;
            input += top.x___05Fvalid && top.x___05Fready;
            if (top.h___05Fvalid) {
                std::memcpy(&received[output * h.size], &top.h___05Fpayload, h.size);
                ++output;
                last = cycles;
            }
            top.clk = 1;
            top.eval();
        }
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
        if (spent.count() < fastest) fastest = spent.count();
        if (received != h.data) {
            std::fprintf(stderr, "outputs differ from the golden model\n");
            return 1;
        }
    }
    std::printf("%lld %.9f\n", static_cast<long long>(cycles), fastest);
}
