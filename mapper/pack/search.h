// The search: which section, which rectangle, when to start again.

#pragma once

#include <chrono>
#include <numeric>
#include <random>

#include "state.h"

namespace packing {

using Clock = std::chrono::steady_clock;
enum Result { INFEASIBLE, PACKED, UNKNOWN };

struct Clocked {
    Clock::time_point until;
    const volatile int32_t* stop;
    i64 nodes = 0;
    bool over() const { return *stop || Clock::now() >= until; }
};

struct Strategy {
    enum Section { WEIGHTED, LOW, SLACK } section;
    double slack;   // weight of a section's slack, beside its floor
    double floor;   // weight of a rectangle's offset, beside its shape
    enum Shape { LENGTH, SIZE } shape;
    double noise;
};

class Search : State {
  public:
    Search(const std::vector<Rectangle>& rectangles, i64 capacity, i64 bank, Clocked& clock)
        : State(rectangles, capacity, bank), clock(clock) {}

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
            reset();
            goals.clear();
            prefer(strategy, round < strategies ? 0 : strategy.noise, random);
            const Result result = run(strategy, 150 * luby(round / strategies + 1));
            if (result == PACKED)
                for (int b = 0; b < n; b++) offsets[r[b].id] = low[b];
            if (result != UNKNOWN || clock.over()) return result;
            for (double& w : weight) w = 1 + (w - 1) * .9;
        }
    }

  private:
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

    Clocked& clock;
    std::vector<double> preference;  // of a rectangle: as if it lay so much lower
    std::vector<Goal> goals;

    static i64 luby(i64 i) {
        for (i64 k = 1;; k++) {
            if (i == (i64(1) << k) - 1) return i64(1) << (k - 1);
            if (i < (i64(1) << k) - 1) return luby(i - (i64(1) << (k - 1)) + 1);
        }
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

    void prefer(const Strategy& strategy, double noise, std::mt19937_64& random) {
        preference.resize(n);
        for (int b = 0; b < n; b++) {
            const double shape = strategy.shape == Strategy::LENGTH
                                     ? double(last[b] - first[b] + 1) / sections
                                     : double(r[b].size) / double(capacity);
            const double u = double(random() >> 11) / double(u64(1) << 53) - .5;
            preference[b] = .3 * shape * (1 + 2 * noise * u);
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

}  // namespace packing
