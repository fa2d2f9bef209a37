// Simulated annealing over the orders of a problem's steps; see anneal.py for what it computes.
//
// The cost of an order is what a simple scheduler transfers: step by step, while there is too much,
// the buffer leaves whose next use, divided by what leaving costs, is furthest.  With a margin of
// one step (double buffering), what the next step fetches is there already, what the last one used
// is there still.  A move shifts a few steps.  Of the order that holds now the state is known every SPACING steps, and a hash of it
// after each: a moved order is followed from the nearest known state before the move to where, after
// the move, its state is the old one's; from there on it costs the same.  What left before the move
// was chosen by next uses as they were then: a schedule all the same, which one that is followed
// anew may differ from a little.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace {

constexpr int SPACING = 16;
constexpr int64_t NEVER = INT64_MAX / 4;

struct Problem {
    int steps, buffers, margin;
    int64_t budget;
    const int64_t* size;       // of a buffer: in the scratchpad
    const int64_t* bytes;      // of a buffer: of a transfer
    const uint8_t* clean;      // of a buffer: off chip from the start; 2: fetched by no load
    const uint8_t* delivered;  // of a buffer: the last store is for nothing
    std::vector<std::vector<int>> uses, before, after, users;
    std::vector<std::vector<uint8_t>> writes;  // of a step, along its uses
    std::vector<int> written;                  // of a buffer: how many steps write it
};

// What lies where after a step.
struct State {
    std::vector<int> resident;
    std::vector<uint8_t> here, dirty;
    std::vector<int> used, wrote;  // how many steps have used, written a buffer
    int64_t load = 0, cost = 0;
    uint64_t hash = 0;
};

struct Search {
    const Problem& p;
    std::vector<int> order, position;
    std::vector<State> known;  // before step 0, SPACING, ...
    std::vector<int64_t> costs;
    std::vector<uint64_t> hashes, zobrist;
    State now;

    explicit Search(const Problem& problem) : p(problem) {
        std::mt19937_64 random(1);
        zobrist.resize(4 * p.buffers);
        for (auto& word : zobrist) word = random();
    }

    void flip(State& s, int b, int bit) const { s.hash ^= zobrist[4 * b + bit]; }

    // The first position after t at which b is used in the order that `position` describes.
    int64_t next(int b, int t) const {
        int64_t found = INT64_MAX;
        for (int user : p.users[b])
            if (position[user] > t && position[user] < found) found = position[user];
        return found;
    }

    // False where what one step uses is too much.
    bool run(State& s, int step, int t) const {
        const auto& uses = p.uses[step];
        for (size_t k = 0; k < uses.size(); k++) {
            const int b = uses[k];
            if (!s.here[b]) arrive(s, b);
            s.used[b]++;
            if (p.writes[step][k]) {
                s.wrote[b]++;
                const uint8_t dirty = !(p.clean[b] && s.used[b] == 1);
                if (dirty != s.dirty[b]) s.dirty[b] = dirty, flip(s, b, 1);
            }
        }
        const bool behind = p.margin && t > 0, ahead = p.margin && t + 1 < p.steps;
        if (ahead)
            for (int b : p.uses[order[t + 1]])
                if (!s.here[b] && (s.used[b] || p.clean[b] == 2)) arrive(s, b);
        while (s.load > p.budget) {
            double best = -1;
            int chosen = -1;
            for (size_t i = 0; i < s.resident.size(); i++) {
                const int b = s.resident[i];
                if (among(uses, b) || (behind && among(p.uses[order[t - 1]], b)) ||
                    (ahead && among(p.uses[order[t + 1]], b)))
                    continue;
                const int64_t away = next(b, t) - t;
                const double merit = double(away) / (stored(s, b) ? 2 : 1);
                if (merit > best || (merit == best && larger(b, s.resident[chosen]))) {
                    best = merit;
                    chosen = int(i);
                }
            }
            if (chosen < 0) return false;
            const int b = s.resident[chosen];
            if (stored(s, b)) s.cost += p.bytes[b];
            if (s.dirty[b]) s.dirty[b] = 0, flip(s, b, 1);
            leave(s, chosen);
        }
        for (int b : uses)
            if (!p.margin || !p.delivered[b] || t + 1 == p.steps) finish(s, b);
        if (behind)
            for (int b : p.uses[order[t - 1]])
                if (!among(uses, b)) finish(s, b);
        return true;
    }

    static bool among(const std::vector<int>& some, int b) {
        return std::find(some.begin(), some.end(), b) != some.end();
    }

    // Which of equals leaves must not depend on how the state came about.
    bool larger(int a, int b) const { return p.size[a] != p.size[b] ? p.size[a] > p.size[b] : a < b; }

    void arrive(State& s, int b) const {
        if (s.used[b]) s.cost += p.bytes[b];
        s.here[b] = 1;
        s.load += p.size[b];
        s.resident.push_back(b);
        flip(s, b, 0);
    }

    // Leaves for good, if nothing uses it any more.
    void finish(State& s, int b) const {
        if (s.used[b] < int(p.users[b].size()) || !s.here[b]) return;
        if (s.dirty[b]) s.dirty[b] = 0, flip(s, b, 1);
        leave(s, int(std::find(s.resident.begin(), s.resident.end(), b) - s.resident.begin()));
    }

    // Whether a store is paid for when b leaves.
    bool stored(const State& s, int b) const {
        return s.dirty[b] && !(p.delivered[b] && s.wrote[b] == p.written[b]);
    }

    void leave(State& s, int place) const {
        const int b = s.resident[place];
        s.here[b] = 0;
        s.load -= p.size[b];
        flip(s, b, 0);
        s.resident.erase(s.resident.begin() + place);
    }

    State empty() const {
        State s;
        s.here.assign(p.buffers, 0);
        s.dirty.assign(p.buffers, 0);
        s.used.assign(p.buffers, 0);
        s.wrote.assign(p.buffers, 0);
        return s;
    }

    // Follows the whole order; NEVER where that cannot be.
    int64_t begin() {
        State s = empty();
        known.clear();
        costs.assign(p.steps, 0);
        hashes.assign(p.steps, 0);
        for (int t = 0; t < p.steps; t++) {
            if (t % SPACING == 0) known.push_back(s);
            if (!run(s, order[t], t)) return NEVER;
            costs[t] = s.cost;
            hashes[t] = s.hash;
        }
        return s.cost;
    }

    // The cost of `order` and `position`, which differ from what is known in first..last.
    int64_t changed(int first, int last, int& end) {
        const int from = std::max(first - p.margin, 0) / SPACING;
        now = known[from];
        for (int t = from * SPACING; t < p.steps; t++) {
            if (!run(now, order[t], t)) return NEVER;
            if (t >= last + p.margin && now.hash == hashes[t]) {
                end = t;
                return now.cost + costs[p.steps - 1] - costs[t];
            }
        }
        end = p.steps - 1;
        return now.cost;
    }

    // Makes the changed order the known one.
    void keep(int first, int end) {
        const int from = std::max(first - p.margin, 0) / SPACING;
        State s = known[from];
        const int64_t before = costs[end];
        for (int t = from * SPACING; t <= end; t++) {
            if (t % SPACING == 0) known[t / SPACING] = s;
            run(s, order[t], t);
            costs[t] = s.cost;
            hashes[t] = s.hash;
        }
        const int64_t shift = costs[end] - before;
        if (!shift) return;
        for (int t = end + 1; t < p.steps; t++) {
            costs[t] += shift;
            if (t % SPACING == 0) known[t / SPACING].cost += shift;
        }
    }

    void shift(int i, int length, int j) {
        if (j < i)
            std::rotate(order.begin() + j, order.begin() + i, order.begin() + i + length);
        else
            std::rotate(order.begin() + i, order.begin() + i + length, order.begin() + j + length);
        for (int k = std::min(i, j); k < std::max(i, j) + length; k++) position[order[k]] = k;
    }
};

}  // namespace

// Anneals `order` within positions begin..end for `moves` moves; returns the cost of the best, which
// replaces it, or -1 where the first one cannot be followed.  `told` gets the best cost as it falls.
extern "C" int64_t anneal(
    int steps, int buffers, int margin, int64_t budget, const int64_t* size, const int64_t* bytes,
    const uint8_t* clean,
    const uint8_t* delivered, const int32_t* use_start, const int32_t* use, const uint8_t* write,
    const int32_t* before_start, const int32_t* before, int32_t* order, int begin, int end,
    int64_t moves, double hot, double cold, uint64_t seed, const volatile int32_t* stop,
    volatile int64_t* told) {
    Problem p{steps, buffers, margin, budget, size, bytes, clean, delivered, {}, {}, {}, {}, {}, {}};
    p.uses.resize(steps), p.writes.resize(steps), p.before.resize(steps), p.after.resize(steps);
    p.users.resize(buffers), p.written.assign(buffers, 0);
    for (int s = 0; s < steps; s++) {
        for (int k = use_start[s]; k < use_start[s + 1]; k++) {
            p.uses[s].push_back(use[k]);
            p.writes[s].push_back(write[k]);
            p.users[use[k]].push_back(s);
            p.written[use[k]] += write[k];
        }
        for (int k = before_start[s]; k < before_start[s + 1]; k++) {
            p.before[s].push_back(before[k]);
            p.after[before[k]].push_back(s);
        }
    }
    Search search(p);
    search.order.assign(order, order + steps);
    search.position.resize(steps);
    for (int t = 0; t < steps; t++) search.position[order[t]] = t;
    int64_t cost = search.begin(), best = cost;
    if (cost == NEVER) return -1;
    *told = best;
    std::mt19937_64 random(seed);
    auto below = [&](int bound) { return int((random() >> 11) % uint64_t(bound)); };
    for (int64_t move = 0; move < moves && !*stop; move++) {
        const double heat = hot * std::pow(cold / hot, double(move) / double(moves));
        const int i = begin + below(end - begin);
        const int length = std::min(below(4) ? 1 : 2 + below(7), end - i);
        int low = begin, high = end;
        for (int k = i; k < i + length; k++) {
            for (int other : p.before[search.order[k]])
                if (search.position[other] < i) low = std::max(low, search.position[other] + 1);
            for (int other : p.after[search.order[k]])
                if (search.position[other] >= i + length) high = std::min(high, search.position[other]);
        }
        high -= length;
        if (below(4)) {  // near
            const int reach = 1 + below(30);
            low = std::max(low, i - reach);
            high = std::min(high, i + reach);
        }
        if (high <= low) continue;
        const int j = low + below(high - low + 1);
        if (j == i) continue;
        search.shift(i, length, j);
        const int first = std::min(i, j), last = std::max(i, j) + length - 1;
        int until = 0;
        const int64_t found = search.changed(first, last, until);
        if (found <= cost ||
            (found < NEVER && std::exp(double(cost - found) / heat) > double(random() >> 11) * 0x1p-53)) {
            search.keep(first, until);
            cost = found;
            if (cost < best) {
                best = cost;
                *told = best;
                std::copy(search.order.begin(), search.order.end(), order);
            }
        } else {
            search.shift(j, length, i);
        }
    }
    return best;
}
