"""Executable model of the rules in firmware/src/custody, in another language and by other means: edge disk -> forgetful broker -> bridge -> journal -> store, under random faults.
usage: custody.py SEEDS [FIRST] [PLANTED_BUG]   bugs: ack_early window_once loss_late boot_reuse anydelete"""
import random, sys, collections, multiprocessing as mp
SEG, SEGS, LOSSMAX, W, LIVE, RANGES = 3, 4, 6, 6, 2, 3

class Iv:                                   # interval set as a plain set plus a cap on ranges when asked
    def __init__(s): s.s = set()
    def add(s, a, b): s.s.update(range(a, b))
    def ranges(s, cap):
        out = []
        for x in sorted(s.s):
            if out and out[-1][1] == x: out[-1][1] = x + 1
            else:
                if len(out) == cap: break
                out.append([x, x + 1])
        return out
    def forget(s, cap):                     # at most cap ranges: forget the highest
        keep = s.ranges(cap); s.s = {x for a, b in keep for x in range(a, b)}

class Broker:
    def __init__(s): s.up = True; s.q = []; s.session = False; s.ret = {}
class Journal:
    n = 0
    def __init__(s): Journal.n += 1; s.id = Journal.n; s.log = []
class Store:
    def __init__(s): s.reset()
    def reset(s):
        s.jid = None; s.off = 0; s.have = collections.defaultdict(set); s.rows = collections.Counter(); s.dup = 0
        s.win = {}; s.decl = collections.defaultdict(set)
    def read(s, j, k):
        if s.jid != j.id: s.jid = j.id; s.off = 0; s.win = {}     # another journal: read it from the beginning
        for e in j.log[s.off:s.off + k]:
            if e[0] == 'win':
                for b, (si, fl, nx) in e[1].items():
                    o = s.win.get(b, (0, 0, 0)); s.win[b] = tuple(max(x, y) for x, y in zip(o, (si, fl, nx)))
            else:
                _, b, q, pay = e
                if q in s.have[b]: s.dup += 1
                else:
                    s.have[b].add(q); s.rows[b, q] += 1
                    if pay: s.decl[pay[0]].update(range(pay[1], pay[2] + 1))
        s.off = min(len(j.log), s.off + k)
    def ledger(s):
        miss = []
        for b, (si, fl, nx) in s.win.items():
            top = max([nx] + [x + 1 for x in s.have[b]])
            miss += [(b, q) for q in range(si, top) if q not in s.have[b] and q not in s.decl[b]]
        return miss

class Edge:
    def __init__(s, sim):
        s.sim = sim; s.segs = []; s.losslog = []; s.jid = None; s.since = {}; s.up = False; s.evicting = None; s.nboot = 0; s.keepboot = None
    def start(s):                           # disk -> memory; a new boot at every open
        s.up = True; s.conn = False; s.evicting = None
        if s.sim.bug == 'boot_reuse' and s.keepboot is not None:
            s.boot = s.keepboot; s.next = 1 + max([q for b, q, _ in s.disk() if b == s.boot], default=s.acked_hi if hasattr(s, 'acked_hi') else -1)
        else: s.nboot += 1; s.boot = s.nboot; s.next = 0; s.keepboot = s.boot
        s.since.setdefault(s.boot, 0); s.unsynced = []; s.acked = collections.defaultdict(set); s.tx = {}; s.no = 0; s.infl = {}
        s.quiet = 0; s.pto = 20; s.wn = 0; s.wdirty = True; s.wacked = -1; s.lastw = -99; s.settled = set(); s.boots = {b for b, _, _ in s.disk()} | {s.boot, -s.boot}; s.since.setdefault(-s.boot, 0)
        s.nexts = {b: 1 + max([q for bb, q, _ in s.disk() if bb == b], default=-1) for b in s.boots}; s.nexts[s.boot] = s.next; s.wins = {}
    def disk(s): return [r for g in s.segs for r in g] + s.losslog
    def floor(s, b):
        return min([q for bb, q, _ in s.disk() if bb == b and q not in s.acked[b]], default=s.nexts.get(b, 0))
    def append(s):
        if len(s.unsynced) >= 4: return
        s.unsynced.append((s.boot, s.next, None)); s.next += 1
    def sync(s):                            # group commit; full: loss record synced, then unlink, then room
        if not s.unsynced: return
        if not s.segs or len(s.segs[-1]) >= SEG or s.segs[-1][0][0] != s.boot:
            if len(s.segs) >= SEGS: return s.evict()
            s.segs.append([])
        r = s.unsynced.pop(0)
        if s.sim.bug == 'send_unsynced': pass
        s.segs[-1].append(r); s.nexts[s.boot] = r[1] + 1; s.sim.accepted.add((r[0], r[1])); s.wdirty = True
    def evict(s):
        if s.evicting is None:
            if len(s.losslog) >= LOSSMAX: return          # acceptance blocks, frames refused and counted
            g = s.segs[0]; l = (-s.boot, s.nexts[-s.boot], (g[0][0], g[0][1], g[-1][1]))   # loss records: a stream of their own
            s.evicting = (g, l)
            if s.sim.bug != 'loss_late': s.put_loss(l)
            else: s.segs.remove(g)
        else:
            g, l = s.evicting; s.evicting = None
            if s.sim.bug == 'loss_late': s.put_loss(l)
            elif g in s.segs: s.segs.remove(g)
            s.infl = {k: v for k, v in s.infl.items() if k[0] != g[0][0] or k[1] not in {q for _, q, _ in g}}
    def put_loss(s, l): s.losslog.append(l); s.nexts[l[0]] = l[1] + 1; s.sim.accepted.add((l[0], l[1])); s.wdirty = True
    def window(s):
        s.wn += 1; w = {b: (s.since.get(b, 0), s.floor(b), s.nexts[b]) for b in s.boots if b not in s.settled and s.nexts[b] > 0}
        s.wins[s.wn] = w; return ('win', (s.boot, s.wn), s.jid, w)
    def send(s, t):
        if not (s.up and s.conn): return
        if s.wdirty and t - s.lastw > 5 or s.wn == 0 or (t - s.lastw > 60 and (s.infl or len(s.boots) > len(s.settled) + 1)):
            s.wdirty = False; s.lastw = t; m = s.window(); s.sim.pub_up(m); return
        d = {(b, q): p for b, q, p in s.disk() if q not in s.acked[b]}
        cand = [k for k in sorted(d, key=lambda k: (abs(k[0]), k[1])) if k not in s.infl]
        if cand:
            live = [k for k in cand if k[0] == s.boot and k[1] >= s.next - 4]; room = W - len(s.infl)
            k = live[0] if live and room > 0 else (cand[0] if room > LIVE else None)
            if k: s.no += 1; s.infl[k] = s.no; s.sim.sends[k] += 1; s.sim.pub_up(('rec', k[0], k[1], d[k])); return
        s.quiet += 1
        if s.infl and s.quiet > s.pto:
            s.quiet = 0; s.pto = min(160, s.pto * 2)
            if d:                           # probe with the oldest that is held, whether in flight or not
                k = min(d, key=lambda k: (abs(k[0]), k[1])); s.no += 1; s.infl[k] = s.no; s.sim.sends[k] += 1; s.sim.pub_up(('rec', k[0], k[1], d[k]))
            else: s.infl = {}
    def on_ack(s, m):
        _, jid, wseen, boots = m
        if jid != s.jid:
            if s.jid is not None:           # another journal: answerable from here on; all that is not below floor is on disk still
                for b in s.boots: s.since[b] = s.floor(b)
                s.acked = collections.defaultdict(set, {b: {q for q in v if q < s.since.get(b, 0)} for b, v in s.acked.items()}); s.infl = {}; s.settled = set(); s.wins = {}
            s.jid = jid; s.wdirty = True
        hi = 0
        for b, rs in boots.items():
            if b not in s.boots: continue
            for a, z in rs:
                for q in range(a, min(z, s.nexts[b])):
                    if q not in s.acked[b]: s.acked[b].add(q); s.quiet = 0; s.pto = 20; s.wdirty = True
                    n = s.infl.pop((b, q), None)
                    if n: hi = max(hi, n)
        for k, n in list(s.infl.items()):
            if n <= hi - 3: del s.infl[k]   # lost: will be sent again
        if wseen and wseen[0] == s.boot and wseen[1] in s.wins:
            for b, (si, fl, nx) in s.wins[wseen[1]].items():
                if abs(b) != s.boot and fl == nx == s.nexts[b]: s.settled.add(b)
        s.trim()
    def trim(s):
        if s.sim.bug == 'anydelete': s.segs = [g for g in s.segs if any(q not in s.acked[b] for b, q, _ in g)]
        else:
            while len(s.segs) > 1 and all(q < s.floor(b) for b, q, _ in s.segs[0]) and s.evicting is None: s.segs.pop(0)
            if len(s.segs) == 1 and all(q < s.floor(b) for b, q, _ in s.segs[0]) and (s.segs[0][0][0] != s.boot or len(s.segs[0]) == SEG) and s.evicting is None: s.segs.pop(0)
        s.losslog = [r for r in s.losslog if r[1] >= s.floor(r[0])]
    def crash(s): s.up = s.conn = False; s.unsynced = []

class Bridge:
    def __init__(s, sim): s.sim = sim; s.up = False
    def start(s):
        s.up = True; s.conn = False; s.j = s.sim.j; s.iv = collections.defaultdict(Iv); s.floor = collections.defaultdict(int); s.pend = []; s.dirty = False; s.wseen = None; s.wonce = set()
    def crash(s):
        if s.up and s.sim.br.session: s.sim.br.q = [p[0] for p in s.pend] + s.sim.br.q
        s.up = s.conn = False; s.pend = []
    def connect(s):
        if not s.sim.br.up: return
        s.conn = True
        if not s.sim.br.session: s.sim.br.session = True
        if 'win' in s.sim.br.ret: s.pend.append([s.sim.br.ret['win'], 0])
    def step(s, r):
        b = s.sim.br
        if not s.conn: return
        if b.q and len(s.pend) < 5: s.pend.append([b.q.pop(0), 0])
        if s.pend and not s.sim.jaway:
            p = s.pend[0]                    # journal write, then its delivery report: two steps
            m = p[0]
            if m[0] == 'win' and m[2] not in (None, s.j.id): s.pend.pop(0); s.dirty = True; return
            if p[1] == 0:
                p[1] = 1
                if s.sim.bug == 'ack_early' and m[0] == 'rec': s.iv[m[1]].add(m[2], m[2] + 1); s.dirty = True; s.sim.ackpub(s); 
                else: s.write(m)
                return
            if s.sim.bug == 'ack_early' and m[0] == 'rec': s.write(m)
            s.pend.pop(0); s.dirty = True
            if m[0] == 'rec': s.iv[m[1]].add(m[2], m[2] + 1); s.iv[m[1]].forget(RANGES + 2)
            else:
                s.wseen = m[1]
                for bt, (si, fl, nx) in m[3].items():
                    if s.sim.bug == 'window_once' and bt in s.wonce: continue
                    s.wonce.add(bt); s.floor[bt] = max(fl, s.floor[bt]); s.iv[bt].s = {q for q in s.iv[bt].s if q >= s.floor[bt]}
    def write(s, m): s.j.log.append(('rec', m[1], m[2], m[3]) if m[0] == 'rec' else ('win', m[3]))
    def ack(s): return ('ack', s.j.id, s.wseen, {b: iv.ranges(RANGES) for b, iv in s.iv.items()})

class Sim:
    def __init__(s, seed, bug=None):
        s.r = random.Random(seed); s.bug = bug; s.br = Broker(); s.j = Journal(); s.js = [s.j]; s.st = Store(); s.e = Edge(s); s.bs = [Bridge(s)]; s.accepted = set(); s.sends = collections.Counter()
        s.jaway = False; s.down = []; s.mix = s.r.choice(['calm', 'crash', 'net', 'away', 'all', 'swap', 'two']); s.swaps = 0; s.qmax = 0
        if s.mix == 'two' or (s.mix == 'all' and s.r.random() < .3): s.bs.append(Bridge(s))
        s.e.start(); [b.start() for b in s.bs]
    def pub_up(s, m):
        if not s.br.up: s.e.conn = False; return
        if s.r.random() < s.loss: return     # died on the way: counts as sent
        if m[0] == 'win': s.br.ret['win'] = m
        if s.br.session:
            s.br.q.append(m)
            if s.r.random() < s.loss: s.br.q.append(m)
        s.qmax = max(s.qmax, len(s.br.q))
    def ackpub(s, b):
        if not (b.conn and s.br.up): return
        b.dirty = False; s.br.ret['ack'] = b.ack()
        if s.e.up and s.e.conn and s.r.random() >= s.loss: s.e.on_ack(b.ack())
    def tick(s, t, chaos):
        r = s.r; s.loss = .05 if chaos and s.mix in ('net', 'all') else 0; e = s.e
        f = lambda p: chaos and r.random() < p
        if s.mix in ('crash', 'all', 'swap', 'two'):
            if f(.006) and e.up: e.crash()
            for b in s.bs:
                if f(.006) and b.up: b.crash()
            if f(.003):                       # broker killed: everything forgotten
                s.br = Broker(); e.conn = False
                for b in s.bs: b.conn = False; b.pend = [p for p in b.pend if p[1] == 1]
            if f(.001): s.st.reset()
        if s.mix in ('net', 'all'):
            if f(.02): e.conn = False
            for b in s.bs:
                if f(.01) and b.up and b.conn:
                    if s.br.session: s.br.q = [p[0] for p in b.pend] + s.br.q
                    b.pend = []; b.conn = False
        if s.mix in ('away', 'all', 'crash'):
            if f(.01): s.jaway = True
        if s.jaway and r.random() < (.01 if chaos else 1): s.jaway = False
        if s.mix in ('swap', 'all') and f(.0015) and s.swaps < 2:
            s.swaps += 1; s.j = Journal(); s.js.append(s.j)
            for b in s.bs: b.crash()
        if not e.up and r.random() < .1: e.start()
        if e.up and not e.conn and s.br.up and r.random() < .2:
            e.conn = True
            if 'ack' in s.br.ret: e.on_ack(s.br.ret['ack'])
        for b in s.bs:
            if not b.up and r.random() < .1: b.start()
            if b.up and not b.conn and r.random() < .2: b.connect()
            if b.up and b.j is not s.j: b.crash()
        if e.up:
            if chaos and r.random() < .25: e.append()
            if r.random() < .4: e.sync()
            if e.evicting and r.random() < .5: e.evict()
            if r.random() < .8: e.send(t)
        for b in s.bs:
            if b.up and r.random() < .8: b.step(r)
            if b.up and b.dirty and r.random() < .3: s.ackpub(b)
        if r.random() < .3: s.st.read(s.j, r.randint(1, 5))
    def invariant(s):
        held = {(b, q) for b, q, _ in s.e.disk()}; logs = [x for j in s.js for x in j.log]
        inj = {(x[1], x[2]) for x in s.j.log if x[0] == 'rec'}; ever = {(x[1], x[2]) for x in logs if x[0] == 'rec'}
        decl = set()
        for p in [x[3] for x in logs if x[0] == 'rec' and x[3]] + [l[2] for l in s.e.losslog]: decl.update((p[0], q) for q in range(p[1], p[2] + 1))
        for k in s.accepted:
            if k in held or k in inj or k in decl: continue
            if k in ever and (k[0] not in s.e.boots or k[1] < s.e.since.get(k[0], 0)): continue   # in an earlier journal, which was answerable
            if k in ever and len(s.js) > 1 and (s.e.jid != s.j.id): continue
            return k
def run(a):
    seed, bug = a; s = Sim(seed, bug)
    try:
        for t in range(900):
            s.tick(t, True)
            if t % 3 == 0:
                k = s.invariant()
                if k: return seed, s.mix, f"I3 at {t}: {k} nowhere"
        before = sum(s.sends.values()); t = 900
        while t < 6000:
            s.tick(t, False); t += 1
            if t % 20 == 0 and not s.e.unsynced and not s.e.losslog and s.e.jid == s.j.id and all(s.e.floor(b) == s.e.nexts[b] for b in s.e.boots) and s.e.up and not s.br.q and s.st.off == len(s.j.log) and s.st.jid == s.j.id and len(s.e.settled) >= len([b for b in s.e.boots if abs(b) != s.e.boot and s.e.nexts[b] > 0]): break
        else: return seed, s.mix, f"I4 not drained: floors {[(b, s.e.floor(b), s.e.nexts[b]) for b in s.e.boots if s.e.floor(b) != s.e.nexts[b]][:3]} infl {list(s.e.infl)[:3]} q {len(s.br.q)} jid {s.e.jid}/{s.j.id} settled {len(s.e.settled)}/{len(s.e.boots)} off {s.st.off}/{len(s.j.log)}"
        k = s.invariant()
        if k: return seed, s.mix, f"I3 end: {k}"
        if any(v > 1 for v in s.st.rows.values()): return seed, s.mix, "I1 twice in the store"
        m = s.st.ledger()
        if m: return seed, s.mix, f"I2 missing {m[:3]} of {len(m)}"
        if s.mix == 'calm' and sum(s.sends.values()) > 1.05 * len(s.accepted): return seed, s.mix, f"I4 storm {sum(s.sends.values())} sends of {len(s.accepted)}"
        if s.qmax > 150: return seed, s.mix, f"I5 queue {s.qmax}"
        return seed, s.mix, None, sum(s.sends.values()), len(s.accepted), s.qmax, t - 900
    except Exception as x:
        import traceback; return seed, s.mix, "model: " + traceback.format_exc()[-300:]
if __name__ == "__main__":
    n = int(sys.argv[1]); f = int(sys.argv[2]) if len(sys.argv) > 2 else 0; bug = sys.argv[3] if len(sys.argv) > 3 else None
    bad = collections.Counter(); ex = {}; ok = collections.defaultdict(lambda: [0, 0, 0, 0, 0])
    with mp.Pool(2) as p:
        for o in p.imap_unordered(run, [(i, bug) for i in range(f, f + n)], 50):
            if o[2]: key = o[1] + ": " + o[2].split(":")[0].split(" ")[0]; bad[key] += 1; ex.setdefault(key, o)
            else: v = ok[o[1]]; v[0] += 1; v[1] += o[3]; v[2] += o[4]; v[3] = max(v[3], o[5]); v[4] = max(v[4], o[6])
    for m, v in sorted(ok.items()): print(f"{m}: {v[0]} clean, {v[1] / max(v[2], 1):.3f} sends a record, queue <= {v[3]}, quiet ticks <= {v[4]}")
    for k, v in bad.most_common(12): print("BAD", v, ex[k])
