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

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using i64 = int64_t;
using u64 = uint64_t;
using Clock = std::chrono::steady_clock;

constexpr i64 FAR = std::numeric_limits<i64>::max() / 4;
enum Result { INFEASIBLE, PACKED, UNKNOWN };

struct Rectangle {
    i64 start, stop, size, alignment, fixed;  // fixed < 0: free
    int id;
};

struct Clocked {
    Clock::time_point until;
    const volatile int32_t* stop;
    i64 nodes = 0;
    bool over() const { return *stop || Clock::now() >= until; }
};

// The least legal offset of r from x on.
i64 legal(const Rectangle& r, i64 x, i64 bank) {
    if (r.fixed >= 0) return x <= r.fixed ? r.fixed : FAR;
    if (r.alignment == 1 && !bank) return x;
    // Bank borders and multiples of the alignment meet after bank * alignment at the latest.
    for (i64 end = x + 2 * std::max<i64>(bank, 1) * r.alignment + r.size; x <= end;) {
        x = (x + r.alignment - 1) / r.alignment * r.alignment;
        if (!bank) return x;
        const bool fits = r.size > bank ? x % bank == 0 : x % bank + r.size <= bank;
        if (fits) return x;
        x = (x / bank + 1) * bank;
    }
    return FAR;
}

struct Strategy {
    enum Section { WEIGHTED, LOW, SLACK } section;
    double slack;   // weight of a section's slack, beside its floor
    double floor;   // weight of a rectangle's offset, beside its shape
    enum Shape { LENGTH, SIZE, AREA, MIXED } shape;
    double noise;
};

// One connected set of rectangles.
class Search {
  public:
    Search(const std::vector<Rectangle>& rectangles, i64 capacity, i64 bank, Clocked& clock)
        : r(rectangles), n(int(r.size())), capacity(capacity), bank(bank), clock(clock) {
        std::sort(r.begin(), r.end(), [](const Rectangle& x, const Rectangle& y) {
            return std::make_tuple(x.start, x.stop, x.size, x.id) <
                   std::make_tuple(y.start, y.stop, y.size, y.id);
        });
        std::vector<std::pair<i64, int>> events;
        for (const auto& x : r) {
            events.push_back({x.start, 1});
            events.push_back({x.stop, 0});
        }
        std::sort(events.begin(), events.end());
        std::vector<i64> times;  // a start that a stop follows
        for (size_t i = 0; i + 1 < events.size(); i++)
            if (events[i].second == 1 && events[i + 1].second == 0) times.push_back(events[i].first);
        sections = int(times.size());
        words = (n + 63) / 64;
        low_word.assign(sections, words);
        high_word.assign(sections, 0);
        meets.resize(n);
        members0.assign(size_t(sections) * words, 0);
        below0.assign(size_t(n) * words, 0);
        load0.assign(sections, 0);
        links0.assign(sections, 0);
        weight.assign(sections, 1);
        for (int b = 0; b < n; b++) {
            auto from = std::lower_bound(times.begin(), times.end(), r[b].start);
            auto to = std::lower_bound(times.begin(), times.end(), r[b].stop);
            first.push_back(int(from - times.begin()));
            last.push_back(int(to - times.begin()) - 1);
            for (int s = first[b]; s <= last[b]; s++) {
                members0[s * words + (b >> 6)] |= bit(b);
                low_word[s] = std::min(low_word[s], b >> 6);
                high_word[s] = std::max(high_word[s], b >> 6);
                load0[s] += r[b].size;
                if (s < last[b]) links0[s]++;
            }
            for (int c = 0; c < b; c++)
                if (r[c].stop > r[b].start && r[b].stop > r[c].start) {
                    meets[b].push_back(c);
                    meets[c].push_back(b);
                }
            // Equal ones in one order.
            if (b && r[b].fixed < 0 && r[b - 1].fixed < 0 && r[b].start == r[b - 1].start &&
                r[b].stop == r[b - 1].stop && r[b].size == r[b - 1].size &&
                r[b].alignment == r[b - 1].alignment)
                below0[size_t(b) * words + ((b - 1) >> 6)] |= bit(b - 1);
        }
    }

    Result solve(u64 seed, std::vector<i64>& offsets) {
        if (greedy(offsets)) return PACKED;
        static const Strategy STRATEGIES[] = {
            {Strategy::SLACK, 1, 1, Strategy::LENGTH, .3},
            {Strategy::SLACK, .6, 100, Strategy::SIZE, .3},
            {Strategy::WEIGHTED, 0, 1, Strategy::LENGTH, .3},
            {Strategy::SLACK, .3, 100, Strategy::SIZE, .3},
            {Strategy::SLACK, 4, 1, Strategy::LENGTH, .3},
        };
        std::mt19937_64 random(seed);
        const int strategies = sizeof STRATEGIES / sizeof *STRATEGIES;
        for (i64 round = 0;; round++) {
            const Strategy& strategy = STRATEGIES[(round + seed) % strategies];
            prepare(strategy, round < strategies ? 0 : strategy.noise, random);
            const Result result = run(strategy, 150 * luby(round / strategies + 1));
            if (result == PACKED)
                for (int b = 0; b < n; b++) offsets[r[b].id] = low[b];
            if (result != UNKNOWN || clock.over()) return result;
            for (double& w : weight) w = 1 + (w - 1) * .9;
        }
    }

  private:
    struct Change {
        i64* place;
        i64 old;
    };
    struct Part {  // sections from..to; choices made since `start` are its own, those above
        int from, to;  // `base` came after the split that it stems from
        int start, base;
    };
    struct Goal {
        Part part;
        int next;
    };
    struct Choice {
        size_t changes;
        Part part;
        int goals, arena, section, rectangle;
    };

    std::vector<Rectangle> r;
    const int n;
    const i64 capacity, bank;
    Clocked& clock;
    int sections, words;
    std::vector<int> first, last, low_word, high_word;
    std::vector<std::vector<int>> meets;
    std::vector<i64> members0, below0, load0, links0;
    std::vector<double> weight, preference;

    // The state; all that changes during search is undone from `changes`.
    std::vector<i64> low, high, load, links, members, below, refuted, claimed, placed;
    std::vector<i64> lowest, second, candidates;  // of a section, as last scanned
    std::vector<Change> changes;
    std::vector<char> dirty;
    std::vector<int> queue, turn, others;
    std::vector<Goal> goals;

    static i64 bit(int b) { return i64(u64(1) << (b & 63)); }
    static i64 luby(i64 i) {
        for (i64 k = 1;; k++) {
            if (i == (i64(1) << k) - 1) return i64(1) << (k - 1);
            if (i < (i64(1) << k) - 1) return luby(i - (i64(1) << (k - 1)) + 1);
        }
    }

    void set(i64& place, i64 value) {
        if (place == value) return;
        changes.push_back({&place, place});
        place = value;
    }
    void undo(size_t to) {
        for (; changes.size() > to; changes.pop_back()) *changes.back().place = changes.back().old;
    }
    void mark(int s) {
        if (dirty[s]) return;
        dirty[s] = 1;
        queue.push_back(s);
    }
    void forget() {
        for (int s : queue) dirty[s] = 0;
        queue.clear();
    }
    template <typename Do>
    void each(int s, Do&& act) const {
        for (int w = low_word[s]; w <= high_word[s]; w++)
            for (u64 left = u64(members[s * words + w]); left; left &= left - 1)
                act(w * 64 + __builtin_ctzll(left));
    }

    // First fit, in a few orders.
    bool greedy(std::vector<i64>& offsets) {
        std::vector<int> order(n);
        std::vector<i64> at(n);
        std::vector<std::pair<i64, i64>> taken;
        for (int kind = 0; kind < 4; kind++) {
            std::iota(order.begin(), order.end(), 0);
            std::sort(order.begin(), order.end(), [&](int x, int y) {
                const Rectangle &p = r[x], &q = r[y];
                if ((p.fixed >= 0) != (q.fixed >= 0)) return p.fixed >= 0;
                const double u = double(p.stop - p.start), v = double(q.stop - q.start);
                const double a = kind == 0   ? double(p.size - q.size)
                                 : kind == 1 ? u - v
                                 : kind == 2 ? u * double(p.size) - v * double(q.size)
                                             : double(q.start - p.start);
                return a != 0 ? a > 0 : x < y;
            });
            std::fill(at.begin(), at.end(), -1);
            bool fits = true;
            for (int b : order) {
                taken.clear();
                for (int c : meets[b])
                    if (at[c] >= 0) taken.push_back({at[c], at[c] + r[c].size});
                std::sort(taken.begin(), taken.end());
                i64 x = legal(r[b], 0, bank);
                for (const auto& [from, to] : taken) {
                    if (from - x >= r[b].size) break;
                    if (to > x) x = legal(r[b], to, bank);
                }
                at[b] = x;
                if (x + r[b].size > capacity) {
                    fits = false;
                    break;
                }
            }
            if (!fits) continue;
            for (int b = 0; b < n; b++) offsets[r[b].id] = at[b];
            return true;
        }
        return false;
    }

    void prepare(const Strategy& strategy, double noise, std::mt19937_64& random) {
        forget();
        changes.clear();
        goals.clear();
        members = members0;
        below = below0;
        load = load0;
        links = links0;
        low.assign(n, 0);
        high.resize(n);
        refuted.assign(members.size(), 0);
        claimed.assign(sections, -1);
        lowest.assign(sections, -1);
        second.assign(sections, FAR);
        candidates.assign(sections, 0);
        placed.assign(n, 0);
        dirty.assign(sections, 0);
        preference.resize(n);
        for (int b = 0; b < n; b++) {
            low[b] = legal(r[b], 0, bank);
            high[b] = r[b].fixed >= 0 ? r[b].fixed : capacity - r[b].size;
            const double length = double(last[b] - first[b] + 1) / sections;
            const double size = double(r[b].size) / double(capacity);
            double shape = 0;
            switch (strategy.shape) {
                case Strategy::LENGTH: shape = length; break;
                case Strategy::SIZE: shape = size; break;
                case Strategy::AREA: shape = length * size; break;
                case Strategy::MIXED: shape = std::sqrt(length * size); break;
            }
            const double u = double(random() >> 11) / double(u64(1) << 53) - .5;
            preference[b] = .3 * shape * (1 + 2 * noise * u);
        }
    }

    bool dead(int s) {
        weight[s] += 1;
        return false;
    }
    bool raise(int b, i64 x) {
        if (x <= low[b]) return true;
        x = legal(r[b], x, bank);
        if (x > high[b]) {
            for (int s = first[b]; s <= last[b]; s++) weight[s] += 1. / (last[b] - first[b] + 1);
            return false;
        }
        set(low[b], x);
        for (int s = first[b]; s <= last[b]; s++) mark(s);
        return true;
    }
    void claim(int s, int b) {
        if (claimed[s] == b) return;
        set(claimed[s], b);
        mark(s);
        each(s, [&](int c) {
            i64& word = below[size_t(c) * words + (b >> 6)];
            if (c == b || word & bit(b)) return;
            set(word, word | bit(b));
            const int to = std::min(last[b], last[c]);
            for (int t = std::max(first[b], first[c]); t <= to; t++) mark(t);
        });
    }
    bool place(int b) {
        set(placed[b], 1);
        for (int s = first[b]; s <= last[b]; s++) {
            i64& word = members[s * words + (b >> 6)];
            set(word, word & ~bit(b));
            set(load[s], load[s] - r[b].size);
            if (s < last[b]) set(links[s], links[s] - 1);
            set(claimed[s], -1);
            for (int w = low_word[s]; w <= high_word[s]; w++) set(refuted[s * words + w], 0);
            mark(s);
        }
        const i64 top = low[b] + r[b].size;
        for (int c : meets[b])
            if (!placed[c] && !raise(c, top)) return false;
        return true;
    }

    bool has_below(int c, int s) const {
        for (int w = low_word[s]; w <= high_word[s]; w++)
            if (below[size_t(c) * words + w] & members[s * words + w]) return true;
        return false;
    }

    // What can be the lowest in s; `least`: the least of the others' highest offsets.
    struct Bounds {
        i64 most, least, next_least;
        int tightest;
    };
    bool candidate(int c, int s, const Bounds& bounds) const {
        if (low[c] > bounds.most) return false;
        if (low[c] + r[c].size > (c == bounds.tightest ? bounds.next_least : bounds.least))
            return false;
        if (refuted[s * words + (c >> 6)] & bit(c)) return false;
        return !has_below(c, s);
    }
    Bounds bounds(int s) const {
        Bounds found{capacity - load[s], FAR, FAR, -1};
        each(s, [&](int c) {
            if (high[c] < found.least) {
                found.next_least = found.least;
                found.least = high[c];
                found.tightest = c;
            } else {
                found.next_least = std::min(found.next_least, high[c]);
            }
        });
        return found;
    }

    bool scan(int s) {
        i64 one = FAR, two = FAR;
        int at = -1;
        Bounds limits{capacity - load[s], FAR, FAR, -1};
        each(s, [&](int c) {
            const i64 l = low[c], h = high[c];
            if (l < one) {
                two = one;
                one = l;
                at = c;
            } else if (l < two) {
                two = l;
            }
            if (h < limits.least) {
                limits.next_least = limits.least;
                limits.least = h;
                limits.tightest = c;
            } else if (h < limits.next_least) {
                limits.next_least = h;
            }
        });
        set(lowest[s], at);
        set(second[s], two);
        if (at < 0) return true;
        if (one > limits.most) return dead(s);
        if (claimed[s] >= 0) {
            const int d = int(claimed[s]);
            if (!candidate(d, s, limits)) return dead(s);
            if (limits.most < high[d]) {
                set(high[d], limits.most);
                for (int t = first[d]; t <= last[d]; t++) mark(t);
            }
            bool fine = true;
            const i64 top = low[d] + r[d].size;
            if (at == d && two >= top) return true;
            each(s, [&](int c) { fine = fine && (c == d || raise(c, top)); });
            return fine;
        }
        int count = 0, only = -1;
        i64 top = FAR;
        others.clear();
        each(s, [&](int c) {
            if (candidate(c, s, limits)) {
                count++;
                only = c;
                top = std::min(top, low[c] + r[c].size);
            } else {
                others.push_back(c);
            }
        });
        set(candidates[s], count);
        if (!count) return dead(s);
        for (int c : others)
            if (low[c] < top && !raise(c, top)) return false;
        if (count == 1) claim(s, only);
        return true;
    }

    bool propagate(int from, int to) {
        for (;;) {
            while (!queue.empty()) {
                turn.swap(queue);
                for (size_t i = 0; i < turn.size(); i++) {
                    dirty[turn[i]] = 0;
                    if (scan(turn[i])) continue;
                    for (i++; i < turn.size(); i++) dirty[turn[i]] = 0;
                    turn.clear();
                    return false;
                }
                turn.clear();
            }
            for (int s = from; s <= to; s++) {
                const int b = int(claimed[s] >= 0 ? claimed[s] : lowest[s]);
                if (b < 0 || first[b] != s || dirty[s]) continue;
                const i64 top = low[b] + r[b].size;
                bool all = true;
                for (int t = s; t <= last[b] && all; t++)
                    all = !dirty[t] && (claimed[t] == b || (claimed[t] < 0 && lowest[t] == b &&
                                                            second[t] >= top && !has_below(b, t)));
                if (all && !place(b)) return false;
            }
            if (queue.empty()) return true;
        }
    }

    // The section to decide, -1 where nothing is left.
    int choose(const Part& part, const Strategy& strategy) const {
        int best = -1;
        double least = 0;
        for (int s = part.from; s <= part.to; s++) {
            if (claimed[s] >= 0 || lowest[s] < 0) continue;
            const double floor = double(low[lowest[s]]) / double(capacity);
            double score = floor;
            if (strategy.section == Strategy::WEIGHTED)
                score = double(candidates[s]) / weight[s];
            else if (strategy.section == Strategy::SLACK)
                score += strategy.slack *
                         (double(capacity - load[s] - low[lowest[s]]) / double(capacity));
            else
                score += 1e-3 * double(candidates[s]);
            if (best < 0 || score < least) {
                best = s;
                least = score;
            }
        }
        return best;
    }
    int choose(int s, const Strategy& strategy) const {
        int best = -1;
        double least = 0;
        const Bounds limits = bounds(s);
        each(s, [&](int c) {
            if (!candidate(c, s, limits)) return;
            const double score =
                strategy.floor * double(low[c]) / double(capacity) - preference[c];
            if (best < 0 || score < least) {
                best = c;
                least = score;
            }
        });
        return best;
    }

    // Whether `part` is more than one; then they become goals, the shortest on top.
    void split(const Part& part, int choices, int& top) {
        std::vector<std::pair<int, int>> found;
        for (int s = part.from; s <= part.to; s++) {
            if (lowest[s] < 0) continue;
            const int from = s;
            while (s < part.to && links[s]) s++;
            found.push_back({from, s});
        }
        std::stable_sort(found.begin(), found.end(), [](const auto& x, const auto& y) {
            return x.second - x.first > y.second - y.first;
        });
        for (const auto& [from, to] : found) {
            goals.push_back({{from, to, 0, choices}, top});
            top = int(goals.size()) - 1;
        }
    }

    Result run(const Strategy& strategy, i64 limit) {
        std::vector<Choice> choices;
        int top = -1;
        i64 nodes = 0;
        Part part{0, sections - 1, 0, 0};
        for (int s = 0; s < sections; s++) mark(s);
        for (;;) {
            if (!propagate(part.from, part.to)) {
                forget();
                const int to = int(choices.size()) > part.start ? int(choices.size()) : part.base;
                if (!to) return INFEASIBLE;
                choices.resize(to);
                const Choice back = choices.back();
                choices.pop_back();
                undo(back.changes);
                part = back.part;
                top = back.goals;
                goals.resize(back.arena);
                i64& word = refuted[back.section * words + (back.rectangle >> 6)];
                set(word, word | bit(back.rectangle));
                mark(back.section);
                continue;
            }
            bool connected = true;
            int from = part.from;
            while (from <= part.to && lowest[from] < 0) from++;
            if (from > part.to) {  // solved
                if (top < 0) return PACKED;
                part = goals[top].part;
                part.start = int(choices.size());
                top = goals[top].next;
                continue;
            }
            int to = part.to;
            while (lowest[to] < 0) to--;
            for (int s = from; s < to && connected; s++) connected = links[s] > 0;
            if (!connected) {
                split(part, int(choices.size()), top);
                part = goals[top].part;
                part.start = int(choices.size());
                top = goals[top].next;
                continue;
            }
            part.from = from;
            part.to = to;
            const int s = choose(part, strategy);
            const int b = choose(s, strategy);
            nodes++;
            clock.nodes++;
            if (nodes > limit || ((nodes & 63) == 0 && clock.over())) return UNKNOWN;
            choices.push_back({changes.size(), part, top, int(goals.size()), s, b});
            claim(s, b);
        }
    }
};

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
