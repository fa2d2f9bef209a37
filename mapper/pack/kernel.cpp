// Exact packing of rectangles with fixed lifetimes: a search over what lies lowest, section by
// section.
//
// A *section* is a maximal set of rectangles that live at one time; a rectangle lies in a run of
// sections.  Any packing can be pushed down until every rectangle stands on the floor, on another
// or on the first legal offset above it; so it is given by the order from below in each section.
// The search decides, for a section, which of its unplaced rectangles is the lowest (a *claim*).
// A rectangle that is claimed in all its sections is placed.  Between claims it propagates:
//
// * what has been placed, or is claimed to be lower, raises the lowest offset of what it meets;
// * what is left in a section fits between the least of those offsets and the capacity;
// * the lowest of a section lies no higher than capacity minus load, no higher than all else in
//   the section allows, and below everything else in the section;
// * a rectangle that fits below the lowest offsets of all that it meets is placed at once.
//
// Sections that no unplaced rectangle connects are solved one by one, and the failure of one
// undoes the choices before the split at once.  Restarts with growing limits take turns among
// strategies (which section, which rectangle), weights grow where dead ends are met.
//
// The ideas of sections, of canonical packings and of splits in time are those of minimalloc
// (Moffitt, "MiniMalloc", ASPLOS 2023); weights after Boussemart et al. (dom/wdeg, ECAI 2004).

#include "search.h"

using namespace packing;

namespace {

// Parts that no rectangle connects in time are packed one by one.  In a part whose floor is flat,
// what lives throughout goes to the bottom: a packing can be cut there and exchanged.
Result pack(std::vector<Rectangle> rectangles, i64 base, i64 capacity, i64 bank, bool plain,
            u64 seed, Clocked& clock, std::vector<i64>& offsets) {
    std::sort(rectangles.begin(), rectangles.end(),
              [](const auto& x, const auto& y) { return x.start < y.start; });
    Result all = PACKED;
    for (size_t i = 0; i < rectangles.size();) {
        i64 stop = rectangles[i].stop;
        std::vector<Rectangle> part;
        size_t j = i;
        for (; j < rectangles.size() && rectangles[j].start < stop; j++) {
            stop = std::max(stop, rectangles[j].stop);
            part.push_back(rectangles[j]);
        }
        const i64 start = rectangles[i].start;
        i = j;
        i64 floor = base;
        Result result;
        if (plain) {
            std::vector<Rectangle> rest;
            for (const auto& x : part)
                if (x.start == start && x.stop == stop) {
                    offsets[x.id] = floor;
                    floor += x.size;
                } else {
                    rest.push_back(x);
                }
            if (floor > capacity) return INFEASIBLE;
            if (rest.size() < part.size()) {
                result = pack(rest, floor, capacity, bank, plain, seed, clock, offsets);
                if (result == INFEASIBLE) return result;
                if (result == UNKNOWN) all = UNKNOWN;
                continue;
            }
        }
        Search search(part, capacity - floor, bank, clock);
        result = search.solve(seed, offsets);
        if (result == INFEASIBLE) return result;
        if (result == UNKNOWN) {
            all = UNKNOWN;
            continue;
        }
        if (floor)
            for (const auto& x : part) offsets[x.id] += floor;
    }
    return all;
}

}  // namespace

// rectangles[count][5]: start, stop, size (> 0), alignment, fixed offset or -1.  bank: 0 for none.
// offsets[count]: written.  nodes: choices made.  Returns Result.
extern "C" int64_t pack(int64_t count, const int64_t* rectangles, int64_t capacity, int64_t bank,
                        double limit, uint64_t seed, const volatile int32_t* stop,
                        int64_t* offsets, int64_t* nodes) {
    Clocked clock{Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                     std::chrono::duration<double>(std::min(limit, 1e8))),
                  stop};
    std::vector<Rectangle> all;
    bool plain = !bank;
    for (int64_t i = 0; i < count; i++) {
        const int64_t* x = rectangles + 5 * i;
        all.push_back({x[0], x[1], x[2], x[3], x[4], int(i)});
        plain = plain && x[3] == 1 && x[4] < 0;
    }
    std::vector<i64> found(size_t(count), 0);
    const Result result = pack(std::move(all), 0, capacity, bank, plain, seed, clock, found);
    std::copy(found.begin(), found.end(), offsets);
    *nodes = clock.nodes;
    return result;
}
