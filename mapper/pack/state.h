// What is known while rectangles are being packed: bounds, claims, and what follows from them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

namespace packing {

using i64 = int64_t;
using u64 = uint64_t;

constexpr i64 FAR = std::numeric_limits<i64>::max() / 4;
struct Rectangle {
    i64 start, stop, size, alignment, fixed;  // fixed < 0: free
    int id;
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

// One set of rectangles, connected in time.  All that changes is undone from `changes`.
struct State {
    std::vector<Rectangle> r;  // by start
    const int n;
    const i64 capacity, bank;
    int sections, words;
    std::vector<int> first, last;          // sections of a rectangle
    std::vector<int> low_word, high_word;  // of a section's bits
    std::vector<std::vector<int>> meets;
    std::vector<i64> members0, below0, load0, links0;
    std::vector<double> weight;  // of a section: dead ends there

    std::vector<i64> low, high;          // offsets that a rectangle can have
    std::vector<i64> placed;             // whether it has its offset, the low one
    std::vector<i64> below;              // bits: what is known to be below it
    std::vector<i64> members, refuted;   // bits of a section: what is left, what is not lowest
    std::vector<i64> load, links;        // bytes left; rectangles left that go on to the next
    std::vector<i64> claimed;            // the lowest, or -1
    std::vector<i64> lowest, second;     // as last scanned: least low and whose, the next one
    std::vector<i64> candidates;         // and how many can be lowest
    struct Change {
        i64* place;
        i64 old;
    };
    std::vector<Change> changes;
    std::vector<char> dirty;
    std::vector<int> queue, turn, others;

    State(const std::vector<Rectangle>& rectangles, i64 capacity, i64 bank)
        : r(rectangles), n(int(r.size())), capacity(capacity), bank(bank) {
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

    void reset() {
        forget();
        changes.clear();
        members = members0;
        below = below0;
        load = load0;
        links = links0;
        refuted.assign(members.size(), 0);
        claimed.assign(sections, -1);
        lowest.assign(sections, -1);
        second.assign(sections, FAR);
        candidates.assign(sections, 0);
        placed.assign(n, 0);
        dirty.assign(sections, 0);
        low.resize(n);
        high.resize(n);
        for (int b = 0; b < n; b++) {
            low[b] = legal(r[b], 0, bank);
            high[b] = r[b].fixed >= 0 ? r[b].fixed : capacity - r[b].size;
        }
    }

    static i64 bit(int b) { return i64(u64(1) << (b & 63)); }

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

};

}  // namespace packing
