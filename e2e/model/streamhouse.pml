/*
 * The protocol of docs/protocol.md: sessions, leases, the commit, hand-off, orphans. README.md tells what is left out and why.
 *
 * One partition, two agents, one client. A transaction is one step, because its first statement locks what it is about (the key rows,
 * then the partition row). Requests stay in the network for ever: whatever was sent once can be carried out at any later time, any
 * number of times, and its answer may be lost. Hence no repeats need be modelled: they are the same request carried out again.
 *
 * Read: sizes, promises, state; then Client, Agent, ControlPlane, Session (the network, the bucket and the sweeper), Calm.
 * #ifdef in capitals outside "sizes" is a mutation: a rule left out, to see that the model notices.
 */

/* ---- sizes ---- */

#ifndef TENURES
#define TENURES 3            /* tenures of the partition: the greatest epoch */
#endif
#ifndef SESSIONS
#define SESSIONS 2           /* sessions of each agent */
#endif
#ifndef KEYS
#define KEYS 2               /* objects of each session, at most 3 */
#endif
#ifndef IDEMPOTENT
#define IDEMPOTENT 2         /* records of the idempotent producer: 1, 2, … are also their sequence numbers */
#endif
#ifndef PLAIN
#define PLAIN 0              /* records that come after those, of a producer that never repeats after "possibly" */
#endif
#ifndef FAULTS
#define FAULTS 1             /* crashes, sessions ended, objects swept too early, PUTs that land twice */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 1           /* requests that the client gives up although they may still arrive */
#endif

#define RECORDS  (IDEMPOTENT + PLAIN)
#define ALLS     (2 * SESSIONS)
#define ALLK     (ALLS * KEYS)
#define OFFSETS  (RECORDS + 2)

/* ---- promises ---- */

/* assert(P3_SINGLE_WRITER || …) reads "P3, or else": the checker prints that text. A promise that is 1 is not looked at. */
#ifndef OFF
#define OFF 0
#endif
#define LOOK(n) ((OFF >> n) & 1)
hidden byte P1_DURABLE = LOOK(1);           /* acknowledged: readable at its offset for ever */
hidden byte P2_ORDER = LOOK(2);           /* offsets dense, each written once */
hidden byte P3_SINGLE_WRITER = LOOK(3);           /* no commit below a granted epoch */
hidden byte P5_NO_DUPLICATES = LOOK(5);           /* no record twice */
hidden byte P6_DEFINITE = LOOK(6);           /* surely not means never */
hidden byte P8_NO_LEAKS = LOOK(8);           /* nothing referenced is deleted, nothing else stays */
hidden byte ONE_CONTENT = LOOK(9);  /* one (epoch, offset), one content */
hidden byte UNPROVOKED = LOOK(10);  /* a tenure that nobody ended is not fenced */
hidden byte SMOOTH = LOOK(11);      /* a tenure ended by its own release has nothing left to be fenced */
hidden byte SAY_NO = LOOK(12);      /* no sequence gap is claimed where there is none */
hidden byte TOPIC = LOOK(13);       /* what was meant for a deleted topic is not written to its successor */
hidden byte SETTLED = LOOK(14);     /* in the end nobody waits */
hidden byte STORED = LOOK(15);      /* a key's outcome never changes */

#ifdef WITNESS
#define reached(what, cond) if :: (cond) -> c_code { { static int seen; if (!seen) { seen = 1; printf("reached: %s\n", #what); } } } :: else fi
#else
#define reached(what, cond) skip
#endif

/* ---- state ---- */

/* Sessions are numbered so that s % 2 is the agent; the session, tenure, key and agent "none" is 0, so these are kept one up. */
byte gen[2];                        /* registrations of the agent before this one */
#define SESSION(a) (a + 2 * gen[a])
bool ended[ALLS];                   /* the fact in the session's row */
bool purged[ALLS];                  /* the session's row is gone, and its keys' rows with it */

/* The partition's row. */
byte epoch, holder, hwm, pseq;      /* holder: session + 1; pseq: the producer's last sequence */
byte granted;                       /* the greatest epoch ever granted; for P3 */
byte written[OFFSETS];              /* the log: the record at each offset … */
byte where[OFFSETS];                /* … and its object's key + 1 */

/* The tenures. */
byte tsession[TENURES + 1];         /* session + 1 */
byte tfirst[TENURES + 1];           /* the first offset */
byte tpseq[TENURES + 1];            /* the producer's last sequence when it began */
byte tend[TENURES + 1];             /* why it ended */
#define TAKEN 1
#define RELEASED 2
#define REGRANTED 3
byte releases;                      /* requests to release, one bit for each tenure */

/* Keys: k / KEYS is the session. */
#ifdef KEY_REUSED                   /* names the agent, not the session: a new session begins anew */
#define KEY(s, c) ((s % 2) * KEYS + c)
#else
#define KEY(s, c) (s * KEYS + c)
#endif
byte row[ALLK];                     /* the key's row */
#define TOMBSTONE 1
#define COMMITTED 2
#define FAILED 3
#define SWEPT 4                     /* only in a mutation */
byte bucket[ALLK];                  /* the record that the object holds; 0: no object */
bool late[ALLK];                    /* a PUT that may land yet, though nobody waits for it */
byte krecord[ALLK], kbase[ALLK], ktenure[ALLK];
byte kstate[ALLK];                  /* what the agent thinks of it, and what it told the producer */
#define PUTTING 1
#define UPLOADED 2
#define SENT 3
#define DONE 4                      /* acknowledged */
#define REFUSED 5                   /* told: surely not */
#define UNKNOWN 6                   /* told, if anything: possibly */
byte requests[ALLS];                /* commits sent: bit c is key c alone, bit 3 + c is keys c and c + 1 */

/* Agents. */
byte lease[2], lastended[2];        /* tenures; lease 0: none */
byte next[2];                       /* the offset of the next record */
byte mlast[2], mcom[2];             /* the producer's last sequence: appended, committed */
byte count[2];                      /* keys used in this session */
byte out[2];                        /* the commit in flight: 1 + its bit */
bool closing[2];                    /* it knows that its session has ended */

/* The client. */
byte at[RECORDS + 1];               /* agent + 1 that works on the record, or: */
#define ACKED 3
#define POSSIBLY 4
byte produce[2];                    /* Produce requests on their way, one bit for each record */
byte acked[RECORDS + 1];            /* offset + 1 */

byte faults, timeouts;
#ifdef TOPICS
byte before;                        /* tenures of the deleted topic */
bool anew;
#define GONE(t) (anew && t <= before)
#else
#define GONE(t) false
#endif
byte i, v;                          /* scratch: 0 between steps */

/* ---- what several processes do ---- */

#define UNSETTLED(k) (kstate[k] >= PUTTING && kstate[k] <= SENT)

inline finish_client(a, r, what) {
	if :: at[r] == a + 1 -> at[r] = what :: else fi
}

/* Surely not: the client may send it again, whoever it is. */
inline refuse(a, r) { finish_client(a, r, 0) }

/* Possibly: only an idempotent producer repeats. */
inline unanswered(a, r) {
	if :: r <= IDEMPOTENT -> finish_client(a, r, 0) :: else -> finish_client(a, r, POSSIBLY) fi
}

inline acknowledge(a, r, o, t) {
	assert(P1_DURABLE || GONE(t) || (o < hwm && written[o] == r));
	assert(P5_NO_DUPLICATES || acked[r] == 0 || acked[r] == o + 1);
	acked[r] = o + 1;
	finish_client(a, r, ACKED)
}

inline end_tenure(a) {
	if :: lease[a] > lastended[a] -> lastended[a] = lease[a] :: else fi;
	lease[a] = 0; next[a] = 0; mlast[a] = 0; mcom[a] = 0
}

/* What the catalog must look like after every change of it or of the bucket. */
inline look() {
	for (i : 1 .. RECORDS) {
		assert(P1_DURABLE || acked[i] == 0 || GONE(1) || (acked[i] <= hwm && written[acked[i] - 1] == i))
	}
	for (i : 0 .. OFFSETS - 1) {
		assert(P2_ORDER || (i < hwm) == (written[i] != 0));
		if
		:: written[i] != 0 ->
			assert(P1_DURABLE || bucket[where[i] - 1] == written[i]);
			assert(P8_NO_LEAKS || bucket[where[i] - 1] != 0)
		:: else
		fi
	}
	i = 0
}

/* ---- the client ---- */

#define KEYS_LEFT(a) (count[a] < KEYS)
#define IN_ORDER(a, r) (r > IDEMPOTENT || r == 1 || at[r - 1] == ACKED || at[r - 1] == a + 1)

/* Sends each record to an agent that thinks it leads; sent to another it would come back, surely not written. */
proctype Client(byte r) {
	byte a;
end:	do
	:: atomic { at[r] == 0 && lease[0] && KEYS_LEFT(0) && IN_ORDER(0, r) -> at[r] = 1; produce[0] = produce[0] | (1 << r) }
	:: atomic { at[r] == 0 && lease[1] && KEYS_LEFT(1) && IN_ORDER(1, r) -> at[r] = 2; produce[1] = produce[1] | (1 << r) }
	:: atomic { timeouts && (at[r] == 1 || at[r] == 2) -> timeouts--; a = at[r] - 1; unanswered(a, r); a = 0 }
	od
}

/* ---- agents ---- */

#define ARRIVED(r) (produce[a] & (1 << r))
#define IS_IDEMPOTENT(r) (r <= IDEMPOTENT)
#ifdef LEADER_FORGETS                /* the leader recognises no repeat */
#define FOLLOWS(r) true
#define REPEATS(r) false
#define AWAITED(r) false
#else
#define FOLLOWS(r) (!IS_IDEMPOTENT(r) || r == mlast[a] + 1)
#define REPEATS(r) (IS_IDEMPOTENT(r) && r <= mcom[a])
#define AWAITED(r) (IS_IDEMPOTENT(r) && r > mcom[a] && r <= mlast[a])
#endif
#define ROOM (KEYS_LEFT(a) && next[a] < OFFSETS)

/* An object of one record; its PUT begins. */
inline append(r) {
	k = KEY(SESSION(a), count[a]);
	for (i : 0 .. ALLK - 1) {
		assert(ONE_CONTENT || kstate[i] == 0 || ktenure[i] != lease[a] || kbase[i] != next[a] || krecord[i] == r)
	}
	i = 0;
	krecord[k] = r; kbase[k] = next[a]; ktenure[k] = lease[a]; kstate[k] = PUTTING;
	next[a]++; count[a]++;
	if :: IS_IDEMPOTENT(r) -> mlast[a] = r :: else fi;
	k = 0
}

/* Section 6: a gap in the leader's memory is one only if a lookup that starts now shows the epoch to be current. */
inline gap(r) {
#ifdef GAP_FROM_MEMORY
	assert(SAY_NO || acked[r - 1] == 0);
#else
	if
	:: epoch == lease[a] && holder == SESSION(a) + 1 -> assert(SAY_NO || acked[r - 1] == 0); reached(a sequence gap, true)
	:: else -> end_tenure(a); reached(a deposed leader that would have claimed a gap, acked[r - 1] != 0)
	fi;
#endif
	refuse(a, r)
}

inline arrive(r) {
	produce[a] = produce[a] & ~(1 << r);
	if
	:: lease[a] == 0 -> refuse(a, r)
	:: else ->
		if
		:: REPEATS(r) ->
			v = 0;
			do :: v < OFFSETS && written[v] != r -> v++ :: else -> break od;
			reached(a repeat answered by a later leader, v < tfirst[lease[a]]);
			acknowledge(a, r, v, lease[a]); v = 0
		:: else ->
			if
			:: FOLLOWS(r) && ROOM -> append(r)
			:: FOLLOWS(r) && !ROOM -> refuse(a, r)
			:: else -> gap(r)
			fi
		fi
	fi
}

/* The commit of the oldest object that is not settled, or of the oldest two. */
#ifdef TWO_IN_FLIGHT
#define IDLE true
#define READY(c) (kstate[KEY(SESSION(a), c)] == UPLOADED)
#else
#define IDLE (out[a] == 0)
#define READY(c) (kstate[KEY(SESSION(a), c)] == UPLOADED && \
	(c == 0 || !UNSETTLED(KEY(SESSION(a), (c - 1)))) && (c < 2 || !UNSETTLED(KEY(SESSION(a), (c - 2)))))
#endif
inline send_commit(nr, c, n) {
#ifndef TWO_IN_FLIGHT
	out[a] = 1 + nr;
#endif
	requests[SESSION(a)] = requests[SESSION(a)] | (1 << (nr));
	kstate[KEY(SESSION(a), c)] = SENT;
	if :: n == 2 -> kstate[KEY(SESSION(a), (c + 1))] = SENT :: else fi
}

#define SETTLED_KEY(c) (!UNSETTLED(KEY(SESSION(a), c)))
#define DONE_WITH(c) (SETTLED_KEY(c) || ktenure[KEY(SESSION(a), c)] != lease[a])
#if KEYS == 1
#define ALL_SETTLED SETTLED_KEY(0)
#define FLUSHED DONE_WITH(0)
#elif KEYS == 2
#define ALL_SETTLED (SETTLED_KEY(0) && SETTLED_KEY(1))
#define FLUSHED (DONE_WITH(0) && DONE_WITH(1))
#else
#define ALL_SETTLED (SETTLED_KEY(0) && SETTLED_KEY(1) && SETTLED_KEY(2))
#define FLUSHED (DONE_WITH(0) && DONE_WITH(1) && DONE_WITH(2))
#endif

/* The answer to an acquire, or the notice of a hand-off: early, late, or again. */
#ifdef ACQUIRE_LOWERS                /* a late answer resets the offset that was reached */
#define NEWS(t) (t <= TENURES && tsession[t] == SESSION(a) + 1 && t > lastended[a] && t >= lease[a])
#else
#define NEWS(t) (t <= TENURES && tsession[t] == SESSION(a) + 1 && t > lastended[a] && t > lease[a])
#endif
inline begin_tenure(t) {
	if :: lease[a] != 0 && lease[a] != t -> end_tenure(a) :: else fi;
	lease[a] = t; next[a] = tfirst[t]; mlast[a] = tpseq[t]; mcom[a] = tpseq[t]
}

/* A new session: what the old one had is not known here any more. */
inline register() {
	ended[SESSION(a)] = true;
	lease[a] = 0; lastended[a] = 0; next[a] = 0; mlast[a] = 0; mcom[a] = 0; count[a] = 0; out[a] = 0; closing[a] = false;
#ifdef KEY_REUSED
	for (i : 0 .. KEYS - 1) { kstate[KEY(SESSION(a), i)] = 0; late[KEY(SESSION(a), i)] = 0 }
	i = 0;
#endif
	gen[a]++
}

/* kill -9: requests on their way die with the connection, PUTs on their way do not. */
inline crash() {
	for (i : 0 .. KEYS - 1) {
		k = KEY(SESSION(a), i);
		if :: kstate[k] == PUTTING -> late[k] = true :: else fi;
		if :: UNSETTLED(k) -> kstate[k] = UNKNOWN :: else fi
	}
	i = 0; k = 0;
	for (i : 1 .. RECORDS) { unanswered(a, i) }
	i = 0;
	produce[a] = 0;
	register()
}

proctype Agent(byte a) {
	byte k;
end:	do
	/* Produce */
	:: d_step { ARRIVED(1) && !(lease[a] && AWAITED(1)) -> arrive(1) }
#if RECORDS >= 2
	:: d_step { ARRIVED(2) && !(lease[a] && AWAITED(2)) -> arrive(2) }
#endif
#if RECORDS >= 3
	:: d_step { ARRIVED(3) && !(lease[a] && AWAITED(3)) -> arrive(3) }
#endif
	/* the commit: one request in flight */
	:: d_step { IDLE && READY(0) -> send_commit(0, 0, 1) }
#if KEYS >= 2
	:: d_step { IDLE && READY(1) -> send_commit(1, 1, 1) }
	:: d_step { IDLE && READY(0) && kstate[KEY(SESSION(a), 1)] == UPLOADED -> send_commit(3, 0, 2) }
#endif
#if KEYS >= 3
	:: d_step { IDLE && READY(2) -> send_commit(2, 2, 1) }
	:: d_step { IDLE && READY(1) && kstate[KEY(SESSION(a), 2)] == UPLOADED -> send_commit(4, 1, 2) }
#endif
	/* tenures begin, and end by release: nothing of it in flight, and not used any more once that is sent */
	:: d_step { !closing[a] && NEWS(1) -> begin_tenure(1) }
	:: d_step { !closing[a] && NEWS(2) -> begin_tenure(2) }
	:: d_step { !closing[a] && NEWS(3) -> begin_tenure(3) }
#if TENURES >= 4
	:: d_step { !closing[a] && NEWS(4) -> begin_tenure(4) }
#endif
#ifdef RELEASE_UNFLUSHED
	:: d_step { lease[a] && epoch < TENURES -> releases = releases | (1 << lease[a]); end_tenure(a) }
#elif defined(RELEASE_STILL_USED)
	:: d_step { lease[a] && epoch < TENURES && FLUSHED && !(releases & (1 << lease[a])) -> releases = releases | (1 << lease[a]) }
#else
	:: d_step { lease[a] && epoch < TENURES && FLUSHED -> releases = releases | (1 << lease[a]); end_tenure(a) }
#endif
	/* sessions */
	:: d_step { ended[SESSION(a)] && !closing[a] -> closing[a] = true; end_tenure(a) }
	:: d_step { closing[a] && out[a] == 0 && ALL_SETTLED && gen[a] + 1 < SESSIONS -> register() }
	:: d_step { faults && gen[a] + 1 < SESSIONS -> faults--; crash() }
#ifdef ACQUIRE_REPEATS_ENDED         /* "the same lease again", also of a tenure that the agent has ended */
	:: d_step { !closing[a] && lease[a] == 0 && holder == SESSION(a) + 1 && lastended[a] == epoch ->
		lease[a] = epoch; next[a] = hwm; mlast[a] = pseq; mcom[a] = pseq }
#endif
	od
}

/* ---- the control plane: acquire and release ---- */

inline grant(s, why) {
	if :: epoch > 0 && tend[epoch] == 0 -> tend[epoch] = why :: else fi;
	epoch++; holder = s + 1;
	if :: epoch > granted -> granted = epoch :: else fi;
	tsession[epoch] = s + 1; tfirst[epoch] = hwm; tpseq[epoch] = pseq
}

/* Whoever holds it may be a suspect at any moment, so another session always gets it; the same session only a tenure that it has ended. */
#define CAN_ACQUIRE(a) (epoch < TENURES && !ended[SESSION(a)] && (holder != SESSION(a) + 1 || lastended[a] >= epoch))
inline acquire(a) {
	if :: holder == SESSION(a) + 1 -> grant(SESSION(a), REGRANTED) :: else -> grant(SESSION(a), TAKEN) fi
}

#ifdef RELEASE_ANY_EPOCH             /* a release ends whatever tenure its session has by now */
#define TO_RELEASE(t) ((releases & (1 << t)) && holder != 0 && tsession[t] == holder && tend[epoch] == 0)
#else
#define TO_RELEASE(t) ((releases & (1 << t)) && epoch == t && tsession[t] == holder && tend[t] == 0)
#endif
inline release() {
	b = 1 - ((holder - 1) % 2);
	if
	:: epoch < TENURES && !ended[SESSION(b)] -> grant(SESSION(b), RELEASED)
	:: else -> tend[epoch] = RELEASED; holder = 0; reached(a release to nobody, true)
	fi;
	b = 0
}

proctype ControlPlane() {
	byte b;
#ifdef ACQUIRE_CACHED
	byte remembered;             /* by a replica that looks at the row only now and then */
#endif
end:	do
	:: d_step { CAN_ACQUIRE(0) -> acquire(0) }
	:: d_step { CAN_ACQUIRE(1) -> acquire(1) }
	:: d_step { TO_RELEASE(1) -> release() }
	:: d_step { TO_RELEASE(2) -> release() }
	:: d_step { TO_RELEASE(3) -> release() }
#ifdef ACQUIRE_CACHED
	:: remembered != epoch -> remembered = epoch
	:: d_step { remembered < epoch && !ended[SESSION(0)] -> epoch = remembered; grant(SESSION(0), TAKEN) }
	:: d_step { remembered < epoch && !ended[SESSION(1)] -> epoch = remembered; grant(SESSION(1), TAKEN) }
#endif
#ifdef RENEWAL_BUMPS
	:: d_step { holder != 0 && epoch < TENURES && !ended[holder - 1] && SESSION(((holder - 1) % 2)) == holder - 1 &&
		lease[(holder - 1) % 2] == epoch ->
		epoch++; granted = epoch; tsession[epoch] = holder; tfirst[epoch] = hwm; tpseq[epoch] = pseq; lease[(holder - 1) % 2] = epoch }
#endif
#ifdef PRODUCER_OUTSIDE
	:: d_step { hwm > 0 -> b = 0; for (i : 0 .. OFFSETS - 1) { if :: written[i] != 0 && written[i] <= IDEMPOTENT && written[i] > b -> b = written[i] :: else fi }
		i = 0; pseq = b; b = 0 }
#endif
#ifdef TOPICS
	/* The topic is deleted and made anew under its name. Nobody waits for what was on its way. */
	:: d_step { !anew && epoch > 0 -> anew = true; before = epoch; holder = 0; hwm = 0; pseq = 0;
		if :: tend[epoch] == 0 -> tend[epoch] = TAKEN :: else fi;
		for (i : 0 .. OFFSETS - 1) { written[i] = 0; where[i] = 0 }
		for (i : 1 .. RECORDS) { acked[i] = 0; if :: at[i] == 1 || at[i] == 2 -> at[i] = POSSIBLY :: else fi }
		i = 0; produce[0] = 0; produce[1] = 0 }
#endif
	od
}

/* ---- a session's commits and objects ---- */

#ifdef KEY_REUSED
#define OWNER(k) tsession[ktenure[k]]
#else
#define OWNER(k) (s + 1)
#endif

#ifdef TOPIC_NAMES                   /* rows and requests name the topic, whose epochs begin anew */
#define IS_TOPIC_NAME true
#define NUMBER(t) (t - (t > before && anew -> before : 0))
#define IS_FENCED(k) (holder != OWNER(k) || NUMBER(epoch) != NUMBER(ktenure[k]))
#elif defined(NO_EPOCH_CHECK)
#define IS_TOPIC_NAME false
#define IS_FENCED(k) false
#else
#define IS_TOPIC_NAME false
#define IS_FENCED(k) (holder != OWNER(k) || epoch != ktenure[k])
#endif
#ifdef NO_OFFSET_CHECK
#define MISMATCHES(k) false
#else
#define MISMATCHES(k) (kbase[k] != hwm)
#endif
#ifdef NO_SEQUENCE_CHECK
#define HAS_GAP(k) false
#else
#define HAS_GAP(k) (krecord[k] <= IDEMPOTENT && krecord[k] != pseq + 1)
#endif

inline write_segment(k) {
	assert(P3_SINGLE_WRITER || ktenure[k] == granted);
	assert(P2_ORDER || (kbase[k] == hwm && written[kbase[k]] == 0));
	assert(P6_DEFINITE || kstate[k] != REFUSED);
	assert(P8_NO_LEAKS || bucket[k] == krecord[k]);
	assert(TOPIC || !GONE(ktenure[k]));
	for (i : 0 .. OFFSETS - 1) { assert(P5_NO_DUPLICATES || written[i] != krecord[k]) }
	i = 0;
	written[kbase[k]] = krecord[k]; where[kbase[k]] = k + 1; hwm = kbase[k] + 1;
#ifndef PRODUCER_OUTSIDE
	if :: krecord[k] <= IDEMPOTENT -> pseq = krecord[k] :: else fi;
#endif
	reached(a commit of an ended session that nobody replaced, ended[s])
}

/* One entry, judged under the locks. v is the verdict. */
inline judge(k) {
	if
	:: GONE(ktenure[k]) && !IS_TOPIC_NAME -> v = FAILED; reached(a commit to a deleted topic, true)
	:: else ->
		if
		:: IS_FENCED(k) ->
			v = FAILED;
			assert(UNPROVOKED || tend[ktenure[k]] != 0);
			assert(SMOOTH || tend[ktenure[k]] != RELEASED);
			reached(FENCED, true)
		:: else ->
			if
			:: MISMATCHES(k) -> v = FAILED; reached(OFFSET_MISMATCH, true)
			:: else -> if :: HAS_GAP(k) -> v = FAILED :: else -> v = COMMITTED; write_segment(k) fi
			fi
		fi
	fi;
	if
	:: row[k] != 0                /* only where the key's row is not looked at first */
#ifdef FAILURES_NOT_STORED
	:: row[k] == 0 && v == FAILED
	:: row[k] == 0 && v != FAILED -> row[k] = v
#else
	:: row[k] == 0 -> row[k] = v
#endif
	fi
}

/* A failed entry ends its tenure: what else was packed in it is left out of later commits. */
inline resign(a, t) {
#ifdef NO_RESIGNATION
	if :: lease[a] == t -> next[a] = hwm; mlast[a] = mcom[a] :: else fi
#else
	if :: lease[a] == t -> end_tenure(a) :: else fi;
	for (i : 0 .. KEYS - 1) {
		if
		:: ktenure[KEY(s, i)] == t && (kstate[KEY(s, i)] == PUTTING || kstate[KEY(s, i)] == UPLOADED) ->
			if :: kstate[KEY(s, i)] == PUTTING -> late[KEY(s, i)] = true :: else fi;
			kstate[KEY(s, i)] = REFUSED; refuse(a, krecord[KEY(s, i)]);
			reached(an object left out, true)
		:: else
		fi
	}
	i = 0
#endif
}

/* The agent learns what became of its object. */
inline learn(a, k) {
	if
	:: v == COMMITTED ->
		kstate[k] = DONE;
		if :: lease[a] == ktenure[k] && krecord[k] <= IDEMPOTENT && krecord[k] > mcom[a] -> mcom[a] = krecord[k] :: else fi;
		reached(an acknowledgement after a takeover, ktenure[k] > 1 && tend[ktenure[k] - 1] == TAKEN && tfirst[ktenure[k]] > 0);
		reached(an acknowledgement after a hand-off, ktenure[k] > 1 && tend[ktenure[k] - 1] == RELEASED);
		acknowledge(a, krecord[k], kbase[k], ktenure[k])
	:: v == UNKNOWN ->
		kstate[k] = UNKNOWN; unanswered(a, krecord[k]);
		if :: lease[a] == ktenure[k] -> end_tenure(a) :: else fi
	:: else ->
		assert(P6_DEFINITE || GONE(ktenure[k]) || where[kbase[k]] != k + 1);
		kstate[k] = REFUSED; refuse(a, krecord[k]);
		resign(a, ktenure[k])
	fi
}

inline entry(k) {
	if
	:: purged[s] ->
#ifdef MISSING_SESSION_IS_NO
		v = FAILED
#else
		v = UNKNOWN; reached(a commit whose session is gone, true)
#endif
	:: !purged[s] && row[k] != 0 && !blind ->
		v = row[k];
		reached(a tombstone, v == TOMBSTONE);
		reached(a repeat of a success, v == COMMITTED);
		reached(a repeat of a failure, v == FAILED)
	:: else -> judge(k)
	fi;
	assert(STORED || purged[s] || kstate[k] != DONE || v == COMMITTED);
	assert(STORED || purged[s] || kstate[k] != REFUSED || v != COMMITTED)
}

/* One request carried out; answered: the agent still waits and hears of it. The first verdict waits in w while the second is made. */
#define AGENT (s % 2)
#ifdef TWO_IN_FLIGHT
#define HEARS(nr) (SESSION(AGENT) == s && WAS_SENT(nr) && kstate[KEY(s, ((nr) % 3))] == SENT && (nr < 3 || kstate[KEY(s, ((nr) % 3 + 1))] == SENT))
#elif defined(MISSING_SESSION_SILENT)
#define HEARS(nr) (SESSION(AGENT) == s && out[AGENT] == 1 + nr && !purged[s])
#else
#define HEARS(nr) (SESSION(AGENT) == s && out[AGENT] == 1 + nr)
#endif
inline commit_one(c, answered) {
	k = KEY(s, c);
	entry(k);
	if :: answered -> out[AGENT] = 0; learn(AGENT, k) :: else fi;
	v = 0; k = 0;
	look()
}
inline commit_two(c, answered) {
	k = KEY(s, c); entry(k); w = v;
	k = KEY(s, c) + 1; entry(k);
	reached(two objects in one commit, w == COMMITTED && v == COMMITTED);
	reached(a tombstone with another object behind it, w == TOMBSTONE && v == FAILED);
	if
	:: answered ->
		out[AGENT] = 0; i = v; v = w; w = i; i = 0;
		k = KEY(s, c); learn(AGENT, k);
		v = w; k = KEY(s, c) + 1; learn(AGENT, k)
	:: else
	fi;
	v = 0; w = 0; k = 0;
	look()
}

#define WAS_SENT(nr) (requests[s] & (1 << (nr)))
#define FRESH(c) (row[KEY(s, c)] == 0 && !purged[s])
#ifdef FAILURES_NOT_STORED
#define LOST(nr) WAS_SENT(nr)
#else
#define LOST(nr) (WAS_SENT(nr) && !purged[s])
#endif

inline put(c, answered) {
	bucket[KEY(s, c)] = krecord[KEY(s, c)];
	if :: answered -> kstate[KEY(s, c)] = UPLOADED :: else fi;
#ifdef ACK_BEFORE_COMMIT
	if :: answered -> acknowledge(AGENT, krecord[KEY(s, c)], kbase[KEY(s, c)], ktenure[KEY(s, c)]) :: else fi;
#endif
	look()
}

/* Is the object referenced? */
#define REFERENCED(k) (row[k] == COMMITTED && where[kbase[k]] == k + 1)
#define NOBODYS(k) (kstate[k] == REFUSED || kstate[k] == UNKNOWN)

inline delete(k) {
	assert(P8_NO_LEAKS || !REFERENCED(k));
	bucket[k] = 0;
#ifdef TOMBSTONE_DROPPED             /* as soon as the object is gone, though its session's row is still there */
	row[k] = 0;
#elif defined(SWEEP_ONCE)            /* and never looks again */
	row[k] = SWEPT;
#endif
	look()
}

#ifdef NO_TOMBSTONE
#define DELETABLE(k) (bucket[k] != 0 && row[k] != COMMITTED && (row[k] != 0 || NOBODYS(k) || faults))
#else
#define DELETABLE(k) (bucket[k] != 0 && (row[k] == TOMBSTONE || row[k] == FAILED || (row[k] == COMMITTED && !REFERENCED(k))))
#endif

#define OBJECT(c) \
	:: d_step { kstate[KEY(s, c)] == PUTTING && SESSION(AGENT) == s -> put(c, true) } \
	:: d_step { kstate[KEY(s, c)] == PUTTING && SESSION(AGENT) == s && faults -> faults--; late[KEY(s, c)] = true; put(c, true) } \
	:: d_step { kstate[KEY(s, c)] == PUTTING && SESSION(AGENT) == s && bucket[KEY(s, c)] == 0 -> put(c, false) } \
	:: d_step { late[KEY(s, c)] -> late[KEY(s, c)] = false; \
		if :: bucket[KEY(s, c)] == 0 -> put(c, false); reached(a PUT that lands on a tombstone, row[KEY(s, c)] == TOMBSTONE) :: else fi } \
	:: d_step { bucket[KEY(s, c)] != 0 && row[KEY(s, c)] == 0 && (NOBODYS(KEY(s, c)) || faults) -> \
		if :: NOBODYS(KEY(s, c)) :: else -> faults-- fi; row[KEY(s, c)] = TOMBSTONE } \
	:: d_step { DELETABLE(KEY(s, c)) -> k = KEY(s, c); delete(k); k = 0 }

#define COMMIT_ONE(c) \
	:: d_step { HEARS(c) -> commit_one(c, true) } \
	:: d_step { LOST(c) && FRESH(c) -> commit_one(c, false) }
#define COMMIT_TWO(c) \
	:: d_step { HEARS(3 + c) -> commit_two(c, true) } \
	:: d_step { LOST(3 + c) && (FRESH(c) || FRESH((c + 1))) -> commit_two(c, false) }

proctype Session(byte s) {
	byte k, w;
	bool blind;                  /* decides without the key's row */
#ifdef KEY_BY_SELECT
	bool looked;                 /* a second attempt looked for the key while the first was still committing, and saw nothing */
#endif
end:	do
	OBJECT(0)
	COMMIT_ONE(0)
#if KEYS >= 2
	OBJECT(1)
	COMMIT_ONE(1)
	COMMIT_TWO(0)
#endif
#if KEYS >= 3
	OBJECT(2)
	COMMIT_ONE(2)
	COMMIT_TWO(1)
#endif
#ifdef KEY_BY_SELECT
	:: d_step { !looked && HEARS(0) && FRESH(0) -> looked = true }
	:: d_step { looked && HEARS(0) -> looked = false; blind = true; commit_one(0, true); blind = false }
#endif
	/* the expirer, at any moment; much later the session's row goes, once no partition names it */
	:: d_step { faults && !ended[s] && SESSION(AGENT) == s -> faults--; ended[s] = true }
#ifdef PURGE
	:: d_step { ended[s] && !purged[s] && holder != s + 1 -> purged[s] = true }
#endif
	od
}

/* ---- the end ---- */

#define ABLE(a) (!ended[SESSION(a)] && holder == SESSION(a) + 1 && lastended[a] < epoch && KEYS_LEFT(a))

/* When nothing can happen any more, nobody waits and nothing lies about. Each number of faults is tried, so a run may end after any of them. */
proctype Calm() {
	byte k;
	timeout -> d_step {
		for (k : 1 .. RECORDS) {
			assert(SETTLED || (at[k] != 1 && at[k] != 2));
			assert(SETTLED || at[k] != 0 || !(ABLE(0) || ABLE(1)))
		}
		for (k : 0 .. ALLK - 1) {
			assert(SETTLED || !UNSETTLED(k));
			assert(P8_NO_LEAKS || (bucket[k] != 0) == REFERENCED(k))
		}
		assert(SETTLED || (out[0] == 0 && out[1] == 0));
		v = 0;
		for (k : 1 .. RECORDS) { if :: at[k] != ACKED -> v = 1 :: else fi }
		reached(the end with everything acknowledged, v == 0);
		k = 0; v = 0
	}
}

init {
	byte n;
	atomic {
		select(n : 0 .. FAULTS); faults = n;
		select(n : 0 .. TIMEOUTS); timeouts = n;
		for (n : 1 .. RECORDS) { run Client(n) }
		run Agent(0); run Agent(1); run ControlPlane();
		for (n : 0 .. ALLS - 1) { run Session(n) }
		run Calm();
		n = 0
	}
}
