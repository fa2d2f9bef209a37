// The clock loop around one Verilated component; see run.py for the protocol.
//
// ports.inc, generated from the component's signature, defines `Inputs` and
// `Outputs` (tuples of types that name a stream's pins) and `pins()` (every pin by number).

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>

#include "Vtop.h"
#include "Vtop___024root.h"
#if defined(THRESHER_FST)
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#elif defined(THRESHER_VCD)
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#elif defined(THRESHER_SAIF)
#include "verilated_saif_c.h"
using Trace = VerilatedSaifC;
#endif

// Verilator's own versions end the process.
void vl_fatal(const char* file, int line, const char*, const char* message) {
    throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + message);
}
void vl_finish(const char* file, int line, const char* where) {
    vl_fatal(file, line, where, "$finish");
}
void vl_stop(const char* file, int line, const char* where) { vl_fatal(file, line, where, "$stop"); }

namespace {

struct Empty {};  // the payload of a stream that carries no bits

struct Pin {
    void* data;
    size_t bytes;
};

inline void put(Empty, const uint32_t*) {}
inline void put(CData& pin, const uint32_t* words) { pin = words[0]; }
inline void put(SData& pin, const uint32_t* words) { pin = words[0]; }
inline void put(IData& pin, const uint32_t* words) { pin = words[0]; }
inline void put(QData& pin, const uint32_t* words) { pin = words[0] | QData{words[1]} << 32; }
template <size_t N>
inline void put(VlWide<N>& pin, const uint32_t* words) {
    std::memcpy(pin.data(), words, 4 * N);
}

inline void get(Empty, uint32_t*) {}
inline void get(QData pin, uint32_t* words) {
    words[0] = static_cast<uint32_t>(pin);
    words[1] = static_cast<uint32_t>(pin >> 32);
}
inline void get(CData pin, uint32_t* words) { words[0] = pin; }
inline void get(SData pin, uint32_t* words) { words[0] = pin; }
inline void get(IData pin, uint32_t* words) { words[0] = pin; }
template <size_t N>
inline void get(const VlWide<N>& pin, uint32_t* words) {
    std::memcpy(words, pin.data(), 4 * N);
}

#include "ports.inc"

// A falling clock changes nothing: where no other pin did either, telling the model that
// the clock was low spares the evaluation.  False where the model has no clocked logic,
// or a waveform must show the clock.
template <class Root>
inline auto forget_clock(Root& root, int) -> decltype(root.__Vtrigprevexpr___TOP__clk__0, true) {
    root.__Vtrigprevexpr___TOP__clk__0 = 0;
#ifdef THRESHER_TRACE
    return false;
#else
    return true;
#endif
}
template <class Root>
inline bool forget_clock(Root&, long) {
    return false;
}

// One stream of a run; run.py's side of it is a ctypes.Structure.
struct Port {
    uint32_t* words;
    int64_t* stamps;
    const uint8_t* pattern;
    int64_t period;
    int64_t beats;  // to feed, or expected
    int64_t room;   // that `words` and `stamps` hold
    int64_t done;
    int64_t phase;    // cycle modulo period
    int64_t offered;  // an input's beat is on the pins
};

enum Status { MORE, COMPLETE, HANG, SURPLUS, FAILED };

struct Simulation {
    VerilatedContext context;
    Vtop top{&context};
    int64_t cycle = 0;
    int64_t idle = 0;     // cycles since the last transfer
    int64_t drained = 0;  // cycles since the last beat that was due
    int64_t pending = 0;  // ports with beats still due
    std::string error;
#ifdef THRESHER_TRACE
    std::unique_ptr<Trace> trace;
    int64_t begin = 0, end = 0;
#endif

    Simulation() { context.randReset(0); }
    ~Simulation() { top.final(); }

    void step(bool clock) {
        top.clk = clock;
        top.eval();
#ifdef THRESHER_TRACE
        if (trace && cycle >= begin && cycle < end) trace->dump(context.time());
        context.timeInc(5);
#endif
    }

    void tick() {
        step(false);
        step(true);
    }
};

template <class Pins>
void idle_input(Vtop& top) {
    static const uint32_t* ones = [] {
        static uint32_t words[Pins::words + 1];
        for (int i = 0; i < Pins::words; ++i) words[i] = ~0u;
        if (Pins::width % 32) words[Pins::words - 1] >>= 32 - Pins::width % 32;
        return words;
    }();
    Pins::valid(top) = 0;
    put(Pins::payload(top), ones);
}

inline bool now(Port& port) {
    const bool open = port.pattern[port.phase];
    if (++port.phase == port.period) port.phase = 0;
    return open;
}

// These two return whether a pin changed.
template <class Pins>
inline bool drive_input(Vtop& top, Port& port) {
    const bool open = now(port);
    if (port.offered) return false;
    if (open && port.done < port.beats) {
        put(Pins::payload(top), port.words + port.done * Pins::words);
        Pins::valid(top) = 1;
        port.offered = 1;
        return true;
    }
    if (!Pins::valid(top)) return false;
    idle_input<Pins>(top);
    return true;
}

template <class Pins>
inline bool drive_output(Vtop& top, Port& port) {
    const bool ready = now(port), changed = ready != Pins::ready(top);
    Pins::ready(top) = ready;
    return changed;
}

template <class Pins>
inline bool sample_input(Simulation& s, Port& port) {
    if (!port.offered || !Pins::ready(s.top)) return false;
    port.stamps[port.done] = s.cycle;
    port.offered = 0;
    if (++port.done == port.beats) --s.pending;
    return true;
}

template <class Pins>
inline bool sample_output(Simulation& s, Port& port, bool& full) {
    if (!Pins::ready(s.top) || !Pins::valid(s.top)) return false;
    get(Pins::payload(s.top), port.words + port.done * Pins::words);
    port.stamps[port.done] = s.cycle;
    if (++port.done == port.beats) --s.pending;
    if (port.done == port.room) full = true;
    return true;
}

template <size_t... I, size_t... O>
Status advance(Simulation& s, Port* in, Port* out, int64_t cycles, int64_t timeout, int64_t drain,
               std::index_sequence<I...>, std::index_sequence<O...>) {
    Vtop& top = s.top;
    for (; cycles > 0; --cycles) {
        bool changed = s.cycle == 0;  // reset was released
        ((changed |= drive_input<std::tuple_element_t<I, Inputs>>(top, in[I])), ...);
        ((changed |= drive_output<std::tuple_element_t<O, Outputs>>(top, out[O])), ...);
        if (changed || !forget_clock(*top.rootp, 0)) s.step(false);
        bool moved = false, full = false;
        ((moved |= sample_input<std::tuple_element_t<I, Inputs>>(s, in[I])), ...);
        ((moved |= sample_output<std::tuple_element_t<O, Outputs>>(s, out[O], full)), ...);
        s.step(true);
        ++s.cycle;
        if (full) return SURPLUS;
        s.idle = moved ? 0 : s.idle + 1;
        if (s.pending) {
            if (s.idle >= timeout) return HANG;
        } else if (s.drained++ >= drain) {
            return COMPLETE;
        }
    }
    return MORE;
}

template <size_t... I, size_t... O>
void quiet(Vtop& top, std::index_sequence<I...>, std::index_sequence<O...>) {
    (idle_input<std::tuple_element_t<I, Inputs>>(top), ...);
    ((std::tuple_element_t<O, Outputs>::ready(top) = 0), ...);
}

constexpr std::make_index_sequence<std::tuple_size_v<Inputs>> each_input{};
constexpr std::make_index_sequence<std::tuple_size_v<Outputs>> each_output{};

template <class Body>
int guarded(Simulation* s, Body body) {
    try {
        return body();
    } catch (const std::exception& error) {
        s->error = error.what();
        return FAILED;
    }
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API Simulation* thresher_open() { return new Simulation; }
API void thresher_close(Simulation* s) { delete s; }
API void thresher_arguments(Simulation* s, int count, const char** words) {
    s->context.commandArgs(count, words);
}
API const char* thresher_error(Simulation* s) { return s->error.c_str(); }

// Waveform of cycles [begin, end).
API int thresher_trace(Simulation* s, const char* path, int64_t begin, int64_t end) {
    return guarded(s, [&] {
#ifdef THRESHER_TRACE
        s->context.traceEverOn(true);
        s->trace = std::make_unique<Trace>();
        s->top.trace(s->trace.get(), 99);
        s->trace->open(path);
        if (!s->trace->isOpen()) throw std::runtime_error(std::string("cannot write ") + path);
        s->begin = begin;
        s->end = end;
#else
        throw std::logic_error("built without waveforms");
#endif
        return 0;
    });
}

API void thresher_trace_close(Simulation* s) {
#ifdef THRESHER_TRACE
    if (s->trace) s->trace->close();
    s->trace.reset();
#endif
}

// Holds reset with every stream quiet; cycle 0 and `pending` due ports come next.
API int thresher_reset(Simulation* s, int64_t cycles, int64_t pending) {
    return guarded(s, [&] {
        quiet(s->top, each_input, each_output);
        s->top.rst = 1;
        s->cycle = 0;
        for (; cycles > 0; --cycles) s->tick();
        s->top.rst = 0;
        s->idle = s->drained = 0;
        s->pending = pending;
        return 0;
    });
}

API int thresher_advance(Simulation* s, Port* in, Port* out, int64_t cycles, int64_t timeout,
                         int64_t drain) {
    return guarded(
        s, [&] { return advance(*s, in, out, cycles, timeout, drain, each_input, each_output); });
}

API int64_t thresher_cycle(Simulation* s) { return s->cycle; }

// Single pins, for interactive use; `pin` counts as in ports.inc.
API void thresher_poke(Simulation* s, int pin, const uint32_t* words) {
    const Pin target = pins(s->top, pin);
    std::memcpy(target.data, words, target.bytes);
}

API void thresher_peek(Simulation* s, int pin, uint32_t* words) {
    const Pin source = pins(s->top, pin);
    std::memcpy(words, source.data, source.bytes);
}

API int thresher_eval(Simulation* s) {
    return guarded(s, [&] {
        s->top.eval();
        return 0;
    });
}

API int thresher_tick(Simulation* s, int64_t cycles) {
    return guarded(s, [&] {
        for (; cycles > 0; --cycles, ++s->cycle) s->tick();
        return 0;
    });
}
