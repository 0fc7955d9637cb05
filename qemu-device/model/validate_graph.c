// SPDX-License-Identifier: MIT
/* Validation of streams, and the stages they make. */
#include <stdlib.h>
#include <string.h>
#include "fabric_priv.h"

/* Every port has a stream, and the stream names the port: both ways. */
static int check_ends(struct rdu_section *s, uint8_t *named, struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->programs.count, num = s->hdr->streams.count, i, k;

	for (i = 0; i < n; i++) {
		const struct rdu_cfg_program *c = &s->programs[i];

		for (k = 0; k < c->num_out; k++)
			if (c->out[k].stream >= num)
				return RDU_REFUSE(s, diag, NO_STREAM, &c->out[k],
						  "program %u: output port %u has stream %u of %u",
						  i, k, c->out[k].stream, num);
		for (k = 0; k < c->num_in; k++)
			if (c->in[k].stream >= num)
				return RDU_REFUSE(s, diag, NO_STREAM, &c->in[k],
						  "program %u: input port %u has stream %u of %u",
						  i, k, c->in[k].stream, num);
	}
	for (i = 0; i < num; i++) {
		const struct rdu_cfg_stream *st = &s->streams[i];

		if (st->zero)
			return RDU_REFUSE(s, diag, RESERVED, &st->zero,
					  "stream %u: reserved field is %u", i, st->zero);
		if (st->net == RDU_NET_SCALAR)
			return RDU_REFUSE(s, diag, UNSUPPORTED, &st->net,
					  "stream %u: scalar network", i);
		if (st->net != RDU_NET_VECTOR)
			return RDU_REFUSE(s, diag, ROUTE, &st->net, "stream %u: network %u", i,
					  st->net);
		if (st->program >= n || st->port >= s->programs[st->program].num_out ||
		    s->programs[st->program].out[st->port].stream != i)
			return RDU_REFUSE(s, diag, NO_PRODUCER, &st->program,
					  "stream %u: program %u has no port %u that feeds it", i,
					  st->program, st->port);
		if (!st->num_dests ||
		    (uint64_t)st->first_dest + st->num_dests > s->hdr->dests.count)
			return RDU_REFUSE(s, diag, NO_CONSUMER, &st->first_dest,
					  "stream %u: consumers %u + %u of %u", i, st->first_dest,
					  st->num_dests, s->hdr->dests.count);
		for (k = 0; k < st->num_dests; k++) {
			const struct rdu_cfg_dest *d = &s->dests[st->first_dest + k];

			if (d->program >= n || d->port >= s->programs[d->program].num_in ||
			    s->programs[d->program].in[d->port].stream != i)
				return RDU_REFUSE(
					s, diag, NO_CONSUMER, d,
					"stream %u: program %u has no port %u that takes it", i,
					d->program, d->port);
			if (named[d->program] >> d->port & 1)
				return RDU_REFUSE(s, diag, NO_CONSUMER, d,
						  "stream %u: port %u of program %u named twice", i,
						  d->port, d->program);
			named[d->program] |= 1 << d->port;
		}
	}
	for (i = 0; i < n; i++) {
		const struct rdu_cfg_program *c = &s->programs[i];

		for (k = 0; k < c->num_out; k++) {
			uint32_t st = c->out[k].stream;

			if (s->streams[st].program != i || s->streams[st].port != k)
				return RDU_REFUSE(
					s, diag, NO_PRODUCER, &c->out[k],
					"program %u: output port %u feeds stream %u, which "
					"is fed by port %u of program %u",
					i, k, st, s->streams[st].port, s->streams[st].program);
		}
		for (k = 0; k < c->num_in; k++)
			if (!(named[i] >> k & 1))
				return RDU_REFUSE(s, diag, NO_STREAM, &c->in[k],
						  "program %u: input port %u has stream %u, which "
						  "does not name it",
						  i, k, c->in[k].stream);
	}
	return 0;
}

static int check_rates(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	for (uint32_t i = 0; i < s->hdr->streams.count; i++) {
		const struct rdu_cfg_stream *st = &s->streams[i];
		uint64_t pushes = s->progs[st->program].pushes[st->port];

		for (uint32_t k = 0; k < st->num_dests; k++) {
			const struct rdu_cfg_dest *d = &s->dests[st->first_dest + k];
			uint64_t pops = s->progs[d->program].pops[d->port];

			if (pushes != pops)
				return RDU_REFUSE(
					s, diag, RATE, st,
					"stream %u: program %u gives %llu vectors, program "
					"%u takes %llu",
					i, st->program, (unsigned long long)pushes, d->program,
					(unsigned long long)pops);
		}
	}
	return 0;
}

static uint32_t find(uint32_t *parent, uint32_t i)
{
	while (parent[i] != i)
		i = parent[i] = parent[parent[i]];
	return i;
}

/* Programs producers first, in topo[]; -1 if streams make a cycle. */
static int sort_programs(struct rdu_section *s, uint32_t *waits, uint32_t *topo,
			 struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->programs.count, head = 0, tail = 0, i, k, j;

	for (i = 0; i < n; i++) {
		waits[i] = s->programs[i].num_in;
		if (!waits[i])
			topo[tail++] = i;
	}
	while (head < tail) {
		const struct rdu_cfg_program *c = &s->programs[topo[head++]];

		for (k = 0; k < c->num_out; k++) {
			const struct rdu_cfg_stream *st = &s->streams[c->out[k].stream];

			for (j = 0; j < st->num_dests; j++) {
				uint32_t d = s->dests[st->first_dest + j].program;

				if (!--waits[d])
					topo[tail++] = d;
			}
		}
	}
	if (tail == n)
		return 0;
	/* From any program that waits, producers that wait lead into the cycle. */
	for (i = 0; !waits[i]; i++)
		;
	for (j = 0, k = 0; j < n; j++) {
		const struct rdu_cfg_program *c = &s->programs[i];

		for (k = 0; !waits[s->streams[c->in[k].stream].program]; k++)
			;
		i = s->streams[c->in[k].stream].program;
	}
	k = s->programs[i].in[0].stream;
	return RDU_REFUSE(s, diag, CYCLE, &s->streams[k], "program %u is in a cycle of streams", i);
}

static int make_stages(struct rdu_section *s, uint32_t *parent, uint32_t *topo,
		       struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->programs.count, i, k, at;

	for (i = 0; i < n; i++)
		parent[i] = i;
	for (i = 0; i < s->hdr->streams.count; i++) {
		const struct rdu_cfg_stream *st = &s->streams[i];

		for (k = 0; k < st->num_dests; k++) {
			uint32_t a = find(parent, st->program);
			uint32_t b = find(parent, s->dests[st->first_dest + k].program);

			/* The lowest index is the root: stages are numbered by it. */
			if (a < b)
				parent[b] = a;
			else
				parent[a] = b;
		}
	}
	for (i = 0; i < n; i++) {
		uint32_t root = find(parent, i);

		if (root == i)
			s->progs[i].stage = s->num_stages++;
		else
			s->progs[i].stage = s->progs[root].stage;
	}
	s->stages = calloc(s->num_stages + 1, sizeof(*s->stages));
	s->order = calloc(n + 1, sizeof(*s->order));
	if (!s->stages || !s->order)
		return RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->programs, "no memory");
	for (i = 0; i < n; i++)
		s->stages[s->progs[i].stage].num++;
	for (i = 0, at = 0; i < s->num_stages; i++) {
		s->stages[i].first = at;
		at += s->stages[i].num;
		s->stages[i].num = 0;
	}
	for (i = 0; i < n; i++) {
		struct rdu_unit_prog *p = &s->progs[topo[i]];
		struct rdu_stage *stage = &s->stages[p->stage];

		if (!stage->num)
			stage->activations = p->activations;
		else if (stage->activations != p->activations && !s->has_arg_limits)
			return RDU_REFUSE(s, diag, ACTIVATIONS, p->cfg,
					  "program %u has %llu activations, program %u of its "
					  "stage %llu",
					  topo[i], (unsigned long long)p->activations,
					  s->order[stage->first],
					  (unsigned long long)stage->activations);
		s->order[stage->first + stage->num++] = topo[i];
	}
	return 0;
}

int rdu_validate_streams(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->programs.count;
	uint8_t *named = calloc(n + 1, 1);
	uint32_t *work = calloc(2 * (size_t)n + 1, sizeof(*work));
	int ret = -1;

	if (!named || !work)
		RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->programs, "no memory");
	else if (check_ends(s, named, diag) || (!s->has_arg_limits && check_rates(s, diag)) ||
		 sort_programs(s, work, work + n, diag) || make_stages(s, work, work + n, diag))
		ret = -1;
	else
		ret = 0;
	free(named);
	free(work);
	return ret;
}
