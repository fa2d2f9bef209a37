// The least bytes over all orders of steps: a best-first search over sets of executed steps.
//
// A *state* is a set of executed steps, which of the buffers that are needed again (*live*) lie in
// the scratchpad, and which of those leave it for nothing (*clean*).  Leaving costs at once what
// it will cost: the store, if there is one, and the fetch, since what is live comes back.  So
// costs only grow, and what was paid for is never worse than what is still there.
//
// Lazily: nothing leaves but where there is no room, and then only sets of which no part is to
// spare; what leaves then was gone since its last use.  Eagerly (only with patterns, which tell
// what lies beside what): after each use it is decided what stays until the next one.
//
// What keeps the number of states small, and loses no optimum:
//
// * Dominance: of two states with the same executed steps one is enough if, from it, the other one
//   can be had for no more than the difference: what is there leaves, what is dirty is stored.
// * A waist is a number of executed steps at which there is but one set of them.  A state there,
//   and all that it holds leaving, bounds all states before it.
// * A step goes at once if it fits without anything leaving, needs nothing from off chip, and each
//   of its results that is needed again can be matched with an operand that is not, no smaller and
//   no cheaper to leave: any schedule stays one, no dearer, with that step moved to the front and
//   the result treated, until where the step was, as that schedule treats the operand.
// * Where one of several buffers with the same size, state and remaining users leaves, it is the
//   first.
//
// A bound on what is still to pay orders the search (best cost plus bound first): for each step to
// come, what must lie across it in any order from here, over the budget, has to leave.
//
// With a beam instead, a number of states of each size is kept: quick, and no proof.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <queue>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using i64 = int64_t;
using u64 = uint64_t;
using Clock = std::chrono::steady_clock;
using Set = std::vector<u64>;

constexpr i64 FAR = std::numeric_limits<i64>::max() / 4;
constexpr size_t HOTTEST = 16;  // steps to come that a bound looks at
constexpr i64 WEIGHT = 24;     // a set of steps takes as much memory as so many states

bool has(const Set &set, int i) { return set[i >> 6] >> (i & 63) & 1; }
void put(Set &set, int i) { set[i >> 6] |= u64(1) << (i & 63); }
bool meets(const Set &a, const Set &b) {
  for (size_t i = 0; i < a.size(); i++)
    if (a[i] & b[i]) return true;
  return false;
}
bool within(const Set &a, const Set &b) {
  for (size_t i = 0; i < a.size(); i++)
    if (a[i] & ~b[i]) return false;
  return true;
}
struct Hash {
  size_t operator()(const Set &set) const {
    u64 h = 0x9e3779b97f4a7c15ull;
    for (u64 w : set) {
      h ^= w;
      h *= 0xff51afd7ed558ccdull;
      h ^= h >> 32;
    }
    return h;
  }
};

// Sets of slots, of which each live buffer has one.
template <int W> struct Mask {
  u64 w[W] = {};
  bool operator[](int i) const { return w[i >> 6] >> (i & 63) & 1; }
  void put(int i) { w[i >> 6] |= u64(1) << (i & 63); }
  void drop(int i) { w[i >> 6] &= ~(u64(1) << (i & 63)); }
  bool any() const {
    u64 all = 0;
    for (int i = 0; i < W; i++) all |= w[i];
    return all;
  }
  friend Mask operator&(Mask a, const Mask &b) {
    for (int i = 0; i < W; i++) a.w[i] &= b.w[i];
    return a;
  }
  friend Mask operator|(Mask a, const Mask &b) {
    for (int i = 0; i < W; i++) a.w[i] |= b.w[i];
    return a;
  }
  friend Mask operator-(Mask a, const Mask &b) {
    for (int i = 0; i < W; i++) a.w[i] &= ~b.w[i];
    return a;
  }
  friend bool operator==(const Mask &a, const Mask &b) {
    return !std::memcmp(a.w, b.w, sizeof a.w);
  }
  template <class F> void each(F f) const {
    for (int i = 0; i < W; i++)
      for (u64 m = w[i]; m; m &= m - 1) f(i * 64 + __builtin_ctzll(m));
  }
};

struct Buffer {
  i64 size, bytes;
  bool clean, load, delivered;
  int slot;
  Set users, writers;
};

struct Step {
  std::vector<int> uses, writes;
  Set before, after;  // all that must come before and after
};

// Sets of buffers that lie beside one another, one after the other, and what they share: there is
// no placement.
struct Pattern {
  std::vector<std::vector<int>> levels, shared;
  int bit;  // of the first level
};

struct Problem {
  int n, m, slots, bits = 0;
  i64 capacity;
  bool margin, eager;
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  std::vector<char> waist;
  std::vector<Pattern> patterns;
};

template <int W> struct Edge {
  int step, to = -1;
  Mask<W> used, fresh, written, clean;  // of slots: begun; new and live after; of those, written,
                                        // and clean then
  i64 room = 0, fetched = 0;            // bytes of what is new; of that, what is fetched
  bool rewrites = false;                // something that is live before and after
};

template <int W> struct Down {
  Set done;
  int depth;
  Mask<W> live;
  std::vector<int> owner, kind;  // of slots: the buffer; equal ones have equal kinds
  bool open = false;
  std::vector<Edge<W>> edges;
  std::vector<std::pair<std::pair<int, int>, std::vector<uint32_t>>> groups;
  // What must lie across a step to come.
  struct Cross {
    i64 size, fetch, store;
    int slot;    // -1: not begun
    bool again;  // used before that step
  };
  struct Hot {
    i64 over;  // bytes above the budget if all of it stays
    std::vector<Cross> cross;
  };
  std::vector<Hot> hot;
};

template <int W> struct State {
  i64 cost, load;
  Mask<W> here, clean, left;
  uint32_t parent;
  int down, step, prev;
  bool dead = false;
};

struct Limits {
  i64 upper, states, beam;
  double seconds;
  const volatile int32_t *stop;
  volatile i64 *progress;  // bound, best, states, sets
};

template <int W> struct Search {
  const Problem &p;
  const Limits &limits;
  Clock::time_point begun = Clock::now();
  std::vector<std::unordered_map<Set, int, Hash>> known;
  std::deque<Down<W>> downs;
  std::vector<State<W>> states;
  std::vector<u64> seen;  // bits of patterns, words at a time
  int words;
  std::vector<i64> cut;  // by depth: states that cost as much are not needed
  struct Entry {
    i64 f;
    int depth;
    uint32_t state;
    bool operator<(const Entry &o) const {
      if (f != o.f) return f > o.f;
      if (depth != o.depth) return depth < o.depth;
      return state < o.state;
    }
  };
  std::priority_queue<Entry> queue;
  std::vector<uint32_t> layer;  // of a beam: what is new
  i64 upper;
  std::vector<std::vector<int>> across;  // what lies across each step in any order
  uint32_t best = 0;
  bool late = false;
  int ticks = 0;
  std::vector<std::pair<double, i64>> prices;

  Search(const Problem &p, const Limits &limits)
      : p(p), limits(limits), known(p.n + 1), words((p.bits + 63) / 64), cut(p.n + 1, FAR),
        upper(limits.upper), across(p.n) {
    for (int s = 0; s < p.n; s++)
      for (int b = 0; b < p.m; b++) {
        const Set &users = p.buffers[b].users;
        if (!has(users, s) && meets(users, p.steps[s].before) && meets(users, p.steps[s].after))
          across[s].push_back(b);
      }
  }

  bool over() {
    if (!late && (++ticks & 255) == 0)
      late = *limits.stop ||
             std::chrono::duration<double>(Clock::now() - begun).count() > limits.seconds;
    return late || i64(states.size()) + (limits.beam ? 0 : WEIGHT * i64(downs.size())) > limits.states;
  }

  i64 store(int b, bool clean) const { return clean ? 0 : p.buffers[b].bytes; }
  i64 leaving(int b, bool clean) const { return p.buffers[b].bytes + store(b, clean); }

  i64 size(const Down<W> &d, const Mask<W> &mask) const {
    i64 total = 0;
    mask.each([&](int x) { total += p.buffers[d.owner[x]].size; });
    return total;
  }

  // Whether what was just written needs no store when it leaves.
  bool pure(const Set &done, int b) const {
    const Buffer &buffer = p.buffers[b];
    int version = 0, all = 0;
    for (size_t i = 0; i < done.size(); i++) {
      version += __builtin_popcountll(buffer.writers[i] & done[i]);
      all += __builtin_popcountll(buffer.writers[i]);
    }
    return (buffer.clean && version <= int(buffer.load)) || (buffer.delivered && version == all);
  }

  int down(const Set &done, int depth) {
    auto [at, fresh] = known[depth].try_emplace(done, int(downs.size()));
    if (!fresh) return at->second;
    downs.emplace_back();
    Down<W> &d = downs.back();
    d.done = done;
    d.depth = depth;
    d.owner.assign(p.slots, -1);
    for (int b = 0; b < p.m; b++)
      if (meets(p.buffers[b].users, done) && !within(p.buffers[b].users, done)) {
        d.live.put(p.buffers[b].slot);
        d.owner[p.buffers[b].slot] = b;
      }
    if (!p.margin && !p.eager && !limits.beam) weigh(d);
    return at->second;
  }

  void open(int id) {
    if (downs[id].open) return;
    downs[id].open = true;
    std::vector<Edge<W>> edges;
    for (int s = 0; s < p.n; s++) {
      const Set done = downs[id].done;
      if (has(done, s) || !within(p.steps[s].before, done)) continue;
      Edge<W> e;
      e.step = s;
      Set next = done;
      put(next, s);
      e.to = down(next, downs[id].depth + 1);
      const Down<W> &to = downs[e.to];
      for (int b : p.steps[s].uses) {
        const Buffer &buffer = p.buffers[b];
        bool begun = meets(buffer.users, done), stays = to.live[buffer.slot] && to.owner[buffer.slot] == b;
        if (begun) e.used.put(buffer.slot);
        if (!begun) {
          e.room += buffer.size;
          if (buffer.clean && !buffer.load) e.fetched += buffer.size;
          if (stays) e.fresh.put(buffer.slot);
        }
      }
      for (int b : p.steps[s].writes) {
        int slot = p.buffers[b].slot;
        if (!to.live[slot] || to.owner[slot] != b) continue;
        e.written.put(slot);
        if (pure(next, b)) e.clean.put(slot);
        if (e.used[slot]) e.rewrites = true;
      }
      edges.push_back(e);
    }
    Down<W> &d = downs[id];
    d.edges = std::move(edges);
    d.kind.assign(p.slots, 0);
    d.live.each([&](int x) {
      const Buffer &mine = p.buffers[d.owner[x]];
      d.kind[x] = x;
      for (int y = 0; y < x; y++) {
        if (!d.live[y]) continue;
        const Buffer &other = p.buffers[d.owner[y]];
        if (mine.size != other.size || mine.bytes != other.bytes || mine.clean != other.clean ||
            mine.delivered != other.delivered || mine.load != other.load)
          continue;
        bool same = true;
        for (size_t i = 0; i < d.done.size() && same; i++)
          same = !((mine.users[i] ^ other.users[i]) & ~d.done[i]) &&
                 !((mine.writers[i] ^ other.writers[i]) & ~d.done[i]) &&
                 !(mine.clean && mine.writers[i] & ~d.done[i]);
        if (same) {
          d.kind[x] = d.kind[y];
          break;
        }
      }
    });
  }

  // What crosses each step to come, in any order from here, where that exceeds the budget.
  void weigh(Down<W> &d) {
    for (int s = 0; s < p.n; s++) {
      if (has(d.done, s)) continue;
      const Step &step = p.steps[s];
      typename Down<W>::Hot hot;
      hot.over = -p.capacity;
      for (int b : step.uses) hot.over += p.buffers[b].size;
      auto cross = [&](int b, bool live) {
        const Buffer &buffer = p.buffers[b];
        hot.over += buffer.size;
        bool again = false;
        for (size_t i = 0; i < d.done.size(); i++)
          if (buffer.users[i] & step.before[i] & ~d.done[i]) again = true;
        // What is delivered may be stored for nothing after its last write.
        i64 store = buffer.clean || buffer.delivered ? 0 : buffer.bytes;
        hot.cross.push_back({buffer.size, buffer.bytes, store, live ? buffer.slot : -1, again});
      };
      for (int b : across[s]) {
        int slot = p.buffers[b].slot;
        cross(b, d.live[slot] && d.owner[slot] == b);
      }
      d.live.each([&](int x) {
        const Set &users = p.buffers[d.owner[x]].users;
        if (!has(users, s) && meets(users, step.after) && !meets(users, step.before))
          cross(d.owner[x], true);
      });
      if (hot.over > 0) d.hot.push_back(std::move(hot));
    }
    auto hotter = [](const auto &a, const auto &b) { return a.over > b.over; };
    std::stable_sort(d.hot.begin(), d.hot.end(), hotter);
    if (d.hot.size() > HOTTEST) d.hot.resize(HOTTEST);
    d.hot.shrink_to_fit();
  }

  // At least what is still to pay: of what crosses one step, what exceeds the budget leaves, the
  // cheapest bytes first.
  i64 ahead(const Down<W> &d, const Mask<W> &here, const Mask<W> &clean) {
    i64 most = 0;
    for (const auto &hot : d.hot) {
      i64 over = hot.over;
      prices.clear();
      for (const auto &c : hot.cross) {
        bool away = c.slot >= 0 && !here[c.slot];
        if (away && !c.again)
          over -= c.size;
        else
          prices.push_back(
              {double(c.fetch + (away || (c.slot >= 0 && clean[c.slot]) ? 0 : c.store)) /
                   double(c.size),
               c.size});
      }
      if (over <= 0) continue;
      std::sort(prices.begin(), prices.end());
      double cost = 0;
      for (auto [price, bytes] : prices) {
        i64 taken = std::min(bytes, over);
        cost += price * double(taken);
        over -= taken;
        if (!over) break;
      }
      most = std::max(most, i64(cost - 1e-6 * cost + 0.999));
    }
    return most;
  }

  // Whether ``a`` makes ``b`` superfluous.
  bool dominates(const Down<W> &d, const State<W> &a, uint32_t at, const State<W> &b, uint32_t bt) const {
    if (a.cost > b.cost) return false;
    i64 cost = a.cost;
    Mask<W> more = a.here - b.here, dirtier = (a.here & b.here & b.clean) - a.clean;
    if (p.eager && more.any()) return false;
    more.each([&](int x) { cost += leaving(d.owner[x], a.clean[x]); });
    if (cost > b.cost) return false;
    dirtier.each([&](int x) { cost += store(d.owner[x], false); });
    if (cost > b.cost) return false;
    for (int i = 0; i < words; i++)
      if (seen[size_t(at) * words + i] & ~seen[size_t(bt) * words + i]) return false;
    return true;
  }

  // Marks of patterns after these buffers lay side by side; false where one is complete.
  bool mark(uint32_t parent, const Down<W> &d, const Mask<W> &here, const std::vector<int> &more,
            std::vector<u64> &marks) {
    marks.assign(words, 0);
    if (!words) return true;
    Set beside((p.m + 63) / 64, 0);
    here.each([&](int x) { put(beside, d.owner[x]); });
    for (int b : more) put(beside, b);
    auto all = [&](const std::vector<int> &wanted) {
      for (int b : wanted)
        if (!has(beside, b)) return false;
      return true;
    };
    const u64 *old = &seen[size_t(parent) * words];
    auto get = [](const u64 *set, int i) { return set[i >> 6] >> (i & 63) & 1; };
    for (const Pattern &q : p.patterns) {
      int levels = int(q.levels.size());
      for (int i = 0; i < levels; i++) {
        int bit = q.bit + i;
        bool on = get(old, bit) && i + 1 < levels && all(q.shared[i]);
        if (!on && all(q.levels[i]))
          on = i == 0 || get(marks.data(), bit - 1) ||
               (get(old, bit - 1) && all(q.shared[i - 1]));
        if (!on) continue;
        if (i + 1 == levels) return false;
        marks[bit >> 6] |= u64(1) << (bit & 63);
      }
    }
    return true;
  }

  void add(uint32_t parent, int id, i64 cost, const Mask<W> &here, const Mask<W> &clean,
           const Mask<W> &left, int step, int prev, const std::vector<u64> &marks) {
    Down<W> &d = downs[id];
    i64 f = cost;
    if (cost >= cut[d.depth]) return;
    if (!limits.beam) f += ahead(d, here, clean);
    if (f >= upper) return;
    std::pair<int, int> key = p.margin ? std::pair<int, int>(step, prev) : std::pair<int, int>(0, 0);
    auto at = d.groups.begin();
    while (at != d.groups.end() && at->first != key) ++at;
    if (at == d.groups.end()) {
      d.groups.push_back({key, {}});
      at = d.groups.end() - 1;
    }
    uint32_t name = uint32_t(states.size());
    State<W> made{cost, size(d, here), here, clean, left, parent, id, step, prev};
    seen.insert(seen.end(), marks.begin(), marks.end());
    for (uint32_t other : at->second)
      if (dominates(d, states[other], other, made, name)) {
        seen.resize(seen.size() - words);
        return;
      }
    auto &group = at->second;
    size_t kept = 0;
    for (uint32_t other : group) {
      if (dominates(d, made, name, states[other], other))
        states[other].dead = true;
      else
        group[kept++] = other;
    }
    group.resize(kept);
    group.push_back(name);
    states.push_back(made);
    if (d.depth == p.n && fits(name)) {
      upper = cost;
      best = name;
      limits.progress[1] = cost;
    }
    if (p.waist[d.depth] && !p.margin && !p.eager) {
      i64 most = cost;
      here.each([&](int x) { most += leaving(d.owner[x], clean[x]); });
      for (int k = d.depth - 1; k >= 0 && cut[k] > most; k--) cut[k] = most;
    }
    if (limits.beam)
      layer.push_back(name);
    else
      queue.push({f, d.depth, name});
  }

  // What lies at the position of the last step of a state besides what stays.
  i64 beside(const State<W> &s, const Down<W> &d, std::vector<int> &more) const {
    i64 total = 0;
    auto take = [&](int b) {
      total += p.buffers[b].size;
      more.push_back(b);
    };
    const auto &own = p.steps[s.step].uses;
    for (int b : own) {
      int x = p.buffers[b].slot;
      if (!(d.live[x] && d.owner[x] == b && s.here[x])) take(b);
    }
    if (p.margin && s.prev >= 0)
      for (int b : p.steps[s.prev].uses) {
        if (std::find(own.begin(), own.end(), b) != own.end()) continue;
        int x = p.buffers[b].slot;
        bool live = d.live[x] && d.owner[x] == b;
        if (live ? !s.here[x] : p.buffers[b].delivered) take(b);
      }
    return total;
  }

  // Whether the last position of a complete state keeps the budget and the patterns.
  bool fits(uint32_t name) {
    const State<W> &s = states[name];
    if (!p.margin || s.step < 0) return true;
    std::vector<int> more;
    std::vector<u64> marks;
    const Down<W> &d = downs[s.down];
    return s.load + beside(s, d, more) <= p.capacity && mark(name, d, s.here, more, marks);
  }

  bool at_once(const State<W> &s, const Down<W> &d, const Edge<W> &e) const {
    if ((e.used - s.here).any() || e.rewrites || s.load + e.room > p.capacity) return false;
    const Down<W> &to = downs[e.to];
    std::vector<std::pair<i64, i64>> born, dying;
    e.fresh.each([&](int x) {
      int b = to.owner[x];
      born.push_back({p.buffers[b].size, leaving(b, !e.written[x] || e.clean[x])});
    });
    if (!born.empty()) {
      ((e.used & s.here) - to.live).each([&](int x) {
        int b = d.owner[x];
        dying.push_back({p.buffers[b].size, leaving(b, s.clean[x])});
      });
      if (born.size() > dying.size()) return false;
      std::sort(born.rbegin(), born.rend());
      std::sort(dying.rbegin(), dying.rend());
      for (size_t i = 0; i < born.size(); i++)
        if (born[i].first > dying[i].first || born[i].second > dying[i].second) return false;
    }
    return true;
  }

  void expand(uint32_t name) {
    open(states[name].down);
    const State<W> s = states[name];
    const int id = s.down;
    if (!p.margin && !p.eager)
      for (size_t i = 0; i < downs[id].edges.size(); i++)
        if (at_once(s, downs[id], downs[id].edges[i])) {
          follow(name, s, id, downs[id].edges[i]);
          return;
        }
    for (size_t i = 0; i < downs[id].edges.size(); i++) {
      if (over()) return;
      follow(name, s, id, Edge<W>(downs[id].edges[i]));
    }
  }

  void follow(uint32_t name, const State<W> &s, int id, const Edge<W> e) {
    const Down<W> &d = downs[id];
    Mask<W> away = e.used - s.here, may = s.here - e.used;
    i64 load = s.load;
    std::vector<int> more;
    if (!p.margin) {
      load += size(d, away) + e.room;
      for (int b : p.steps[e.step].uses) more.push_back(b);
    } else if (s.step >= 0) {
      load += beside(s, d, more);
      for (int b : p.steps[e.step].uses) {
        int x = p.buffers[b].slot;
        bool begun = e.used[x];
        if (begun ? s.here[x] : !p.buffers[b].clean || p.buffers[b].load) continue;
        if (std::find(more.begin(), more.end(), b) != more.end()) continue;
        load += p.buffers[b].size;
        more.push_back(b);
      }
      for (int step : {s.step, s.prev})
        if (step >= 0)
          for (int b : p.steps[step].uses)
            if (int x = p.buffers[b].slot; d.live[x] && d.owner[x] == b) may.drop(x);
    } else {
      load = 0;
    }
    i64 need = load - p.capacity;
    std::vector<u64> marks;
    if (p.eager) {
      if (need > 0 || ((!p.margin || s.step >= 0) && !mark(name, d, s.here, more, marks))) return;
      if (p.margin && s.step < 0) marks.assign(words, 0);
      leave_some(name, s, id, e, marks);
      return;
    }
    if (need <= 0) {
      arrive(name, s, id, e, Mask<W>(), marks);
      return;
    }
    std::vector<int> slots;
    may.each([&](int x) { slots.push_back(x); });
    std::sort(slots.begin(), slots.end(), [&](int x, int y) {
      i64 a = p.buffers[d.owner[x]].size, b = p.buffers[d.owner[y]].size;
      if (a != b) return a > b;
      if (d.kind[x] != d.kind[y]) return d.kind[x] < d.kind[y];
      if (s.clean[x] != s.clean[y]) return bool(s.clean[x]);
      return x < y;
    });
    std::vector<i64> sizes;
    std::vector<char> like;  // the one before
    for (size_t i = 0; i < slots.size(); i++) {
      sizes.push_back(p.buffers[d.owner[slots[i]]].size);
      like.push_back(i && d.kind[slots[i]] == d.kind[slots[i - 1]] &&
                     s.clean[slots[i]] == s.clean[slots[i - 1]]);
    }
    std::vector<i64> rest(slots.size() + 1, 0);
    for (size_t i = slots.size(); i-- > 0;) rest[i] = rest[i + 1] + sizes[i];
    choose(name, s, id, e, marks, slots, sizes, like, rest, 0, need, Mask<W>());
  }

  // Every least set of ``slots`` that makes room for ``need`` bytes: sizes fall, so that it is one
  // if the last is needed.
  void choose(uint32_t name, const State<W> &s, int id, const Edge<W> &e,
              const std::vector<u64> &marks, const std::vector<int> &slots,
              const std::vector<i64> &sizes, const std::vector<char> &like,
              const std::vector<i64> &rest, size_t i, i64 need, Mask<W> out) {
    if (need <= 0) {
      arrive(name, s, id, e, out, marks);
      return;
    }
    if (i == slots.size() || rest[i] < need || over()) return;
    bool taken = i > 0 && out[slots[i - 1]];
    if (!(like[i] && !taken)) {
      Mask<W> one = out;
      one.put(slots[i]);
      choose(name, s, id, e, marks, slots, sizes, like, rest, i + 1, need - sizes[i], one);
    }
    choose(name, s, id, e, marks, slots, sizes, like, rest, i + 1, need, out);
  }

  void leave_some(uint32_t name, const State<W> &s, int id, const Edge<W> &e,
                  const std::vector<u64> &marks) {
    std::vector<int> slots;
    const Mask<W> live = downs[e.to].live;
    ((e.used | e.fresh) & live).each([&](int x) { slots.push_back(x); });
    std::vector<char> out(slots.size(), 0);
    while (!over()) {
      Mask<W> left;
      for (size_t i = 0; i < slots.size(); i++)
        if (out[i]) left.put(slots[i]);
      arrive(name, s, id, e, left, marks);
      size_t i = 0;
      while (i < slots.size() && out[i]) out[i++] = 0;
      if (i == slots.size()) break;
      out[i] = 1;
    }
  }

  void arrive(uint32_t name, const State<W> &s, int id, const Edge<W> &e, const Mask<W> &out,
              const std::vector<u64> &marks) {
    const Down<W> &d = downs[id], &to = downs[e.to];
    i64 cost = s.cost;
    Mask<W> stays = p.eager ? s.here : s.here - out;
    Mask<W> here = (stays | e.used | e.fresh) & to.live;
    Mask<W> clean = ((s.clean & stays) | (e.used - s.here) | e.fresh) - e.written;
    clean = (clean | e.clean) & here;
    if (p.eager) {
      out.each([&](int x) { cost += leaving(to.owner[x], clean[x]); });
      here = here - out;
      clean = clean & here;
    } else {
      out.each([&](int x) { cost += leaving(d.owner[x], s.clean[x]); });
    }
    add(name, e.to, cost, here, clean, out, e.step, s.step, marks);
  }

  // 0: nothing below the upper bound; 1: the least (with a beam: something); 2: given up.
  int run() {
    down(Set((p.n + 63) / 64, 0), 0);
    add(0, 0, 0, {}, {}, {}, -1, -1, std::vector<u64>(words, 0));
    if (limits.beam) return sweep();
    i64 bound = 0;
    while (!queue.empty()) {
      Entry top = queue.top();
      queue.pop();
      if (top.f >= upper) break;
      const State<W> &s = states[top.state];
      if (s.dead || s.cost >= cut[downs[s.down].depth]) continue;
      bound = std::max(bound, top.f);
      limits.progress[0] = bound;
      limits.progress[2] = i64(states.size());
      limits.progress[3] = i64(downs.size());
      expand(top.state);
      if (over()) return 2;
    }
    if (best) return 1;
    limits.progress[0] = std::max(bound, std::min(limits.upper, FAR));
    return 0;
  }

  int sweep() {
    for (int depth = 0; depth < p.n; depth++) {
      std::vector<uint32_t> front;
      for (uint32_t name : layer)
        if (!states[name].dead) front.push_back(name);
      layer.clear();
      auto better = [&](uint32_t a, uint32_t b) {
        const State<W> &x = states[a], &y = states[b];
        if (x.cost != y.cost) return x.cost < y.cost;
        if (x.load != y.load) return x.load < y.load;
        return a < b;
      };
      if (i64(front.size()) > limits.beam) {
        std::nth_element(front.begin(), front.begin() + limits.beam, front.end(), better);
        front.resize(limits.beam);
      }
      std::sort(front.begin(), front.end(), better);
      for (uint32_t name : front) {
        expand(name);
        if (over()) return best ? 1 : 2;
      }
      // Sets of this size are done with.
      for (auto &[done, id] : known[depth]) downs[id] = Down<W>();
      known[depth].clear();
    }
    return best ? 1 : 0;
  }

  void path(int32_t *order, u64 *left) const {
    int wide = (p.slots + 63) / 64;
    for (uint32_t at = best; states[at].step >= 0; at = states[at].parent) {
      int position = 0;
      for (uint32_t up = at; states[states[up].parent].step >= 0; up = states[up].parent) position++;
      order[position] = states[at].step;
      for (int i = 0; i < wide; i++) left[size_t(position) * wide + i] = states[at].left.w[i];
    }
  }
};

template <int W>
int solve(const Problem &p, const Limits &limits, int32_t *order, u64 *left) {
  Search<W> search(p, limits);
  int found = search.run();
  if (search.best) search.path(order, left);
  return found;
}

}  // namespace

// ``table``: n, m, slots, capacity, margin, eager; for each buffer size, bytes, clean, load,
// delivered, slot; for each step the number of uses, and each use with whether it is written, the
// number of steps before it, and these; n + 1 waists; the number of patterns; for each the number
// of levels; for each, and then for what each shares with the next, the number of buffers, and
// these.  All that must come before a step is named.
extern "C" int64_t search(const int64_t *table, int64_t upper, int64_t states, int64_t beam,
                          double seconds, const volatile int32_t *stop, volatile int64_t *progress,
                          int32_t *order, uint64_t *left) {
  const int64_t *at = table;
  Problem p;
  p.n = int(*at++);
  p.m = int(*at++);
  p.slots = int(*at++);
  p.capacity = *at++;
  p.margin = *at++;
  p.eager = *at++;
  size_t wide = (p.n + 63) / 64;
  p.buffers.resize(p.m);
  for (Buffer &b : p.buffers) {
    b.size = *at++;
    b.bytes = *at++;
    b.clean = *at++;
    b.load = *at++;
    b.delivered = *at++;
    b.slot = int(*at++);
    b.users.assign(wide, 0);
    b.writers.assign(wide, 0);
  }
  p.steps.resize(p.n);
  for (Step &s : p.steps) s.after.assign(wide, 0);
  for (int i = 0; i < p.n; i++) {
    Step &s = p.steps[i];
    s.before.assign(wide, 0);
    for (int64_t k = *at++; k > 0; k--) {
      int b = int(*at++);
      s.uses.push_back(b);
      put(p.buffers[b].users, i);
      if (*at++) {
        s.writes.push_back(b);
        put(p.buffers[b].writers, i);
      }
    }
    for (int64_t k = *at++; k > 0; k--) {
      put(s.before, int(*at));
      put(p.steps[*at].after, i);
      at++;
    }
  }
  for (int i = 0; i <= p.n; i++) p.waist.push_back(char(*at++));
  for (int64_t k = *at++; k > 0; k--) {
    Pattern q;
    q.bit = p.bits;
    auto some = [&](std::vector<std::vector<int>> &sets) {
      sets.emplace_back();
      for (int64_t size = *at++; size > 0; size--) sets.back().push_back(int(*at++));
    };
    int64_t levels = *at++;
    for (int64_t i = 0; i < levels; i++) some(q.levels);
    for (int64_t i = 0; i + 1 < levels; i++) some(q.shared);
    p.bits += int(q.levels.size());
    p.patterns.push_back(std::move(q));
  }
  Limits limits{upper, states, beam, seconds, stop, progress};
  if (p.slots <= 64) return solve<1>(p, limits, order, left);
  if (p.slots <= 128) return solve<2>(p, limits, order, left);
  if (p.slots <= 512) return solve<8>(p, limits, order, left);
  if (p.slots <= 4096) return solve<64>(p, limits, order, left);
  return 3;
}
