// SPDX-License-Identifier: MIT
/* Curves, the loss of a training first of all, as a picture that needs nothing else (SVG). */
#include <math.h>
#include <stdlib.h>
#include "rdu_tool.h"

#define WIDTH 960
#define HEIGHT 520
#define LEFT 76
#define RIGHT 76 /* room for the last value, beside the curve and not on it */
#define TOP 76
#define BOTTOM 62
#define MOST_POINTS 1500

struct axes {
	double x_min, x_max, y_min, y_max;
};

static double sx(const struct axes *a, double x)
{
	return LEFT + (x - a->x_min) / (a->x_max - a->x_min) * (WIDTH - LEFT - RIGHT);
}

static double sy(const struct axes *a, double y)
{
	double share = (y - a->y_min) / (a->y_max - a->y_min);

	return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten: about `ticks` of them. */
static double nice_step(double range, int ticks)
{
	double rough = range / ticks, power = pow(10, floor(log10(rough))), f = rough / power;

	return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

static void draw_axes(FILE *f, const struct axes *a, const char *x, const char *y)
{
	double step = nice_step(a->y_max - a->y_min, 6), v;

	for (v = ceil(a->y_min / step - 1e-9) * step; v <= a->y_max + 1e-9; v += step) {
		fprintf(f, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='grid'/>", LEFT,
			WIDTH - RIGHT, sy(a, v), sy(a, v));
		fprintf(f, "<text x='%d' y='%.1f' class='tick' text-anchor='end'>%.*f</text>\n",
			LEFT - 10, sy(a, v) + 4,
			step < 0.1 ? 2
			: step < 1 ? 1
				   : 0,
			fabs(v) < 1e-9 ? 0 : v);
	}
	step = nice_step(a->x_max - a->x_min, 8);
	if (step < 1)
		step = 1;
	for (v = ceil(a->x_min / step) * step; v <= a->x_max + 1e-9; v += step)
		fprintf(f,
			"<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='mark'/>"
			"<text x='%.1f' y='%d' class='tick' text-anchor='middle'>%.0f</text>\n",
			sx(a, v), sx(a, v), HEIGHT - BOTTOM, HEIGHT - BOTTOM + 5, sx(a, v),
			HEIGHT - BOTTOM + 22, v);
	fprintf(f, "<line x1='%d' x2='%d' y1='%d' y2='%d' class='axis'/>\n", LEFT, WIDTH - RIGHT,
		HEIGHT - BOTTOM, HEIGHT - BOTTOM);
	fprintf(f, "<text x='%d' y='%d' class='name' text-anchor='middle'>%s</text>\n",
		(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x);
	fprintf(f,
		"<text transform='translate(22 %d) rotate(-90)' class='name' "
		"text-anchor='middle'>",
		(TOP + HEIGHT - BOTTOM) / 2);
	put_xml(f, y);
	fprintf(f, "</text>\n");
}

double loss_mean(const struct loss_point *points, unsigned int count)
{
	unsigned int n = count < LOSS_STEPS ? count : LOSS_STEPS, i;
	double sum = 0;

	for (i = count - n; i < count; i++)
		sum += points[i].loss;
	return n ? sum / n : NAN;
}

static int by_loss(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Outliers are cut off, so that the rest can be seen. */
static struct axes choose_axes(const struct loss_point *p, unsigned int n)
{
	float *sorted = xmalloc(n * sizeof(*sorted));
	struct axes a = { .x_min = n ? p[0].step : 0, .x_max = n > 1 ? p[n - 1].step : 1 };
	unsigned int i, k = 0;
	double step;

	if (a.x_max <= a.x_min)
		a.x_max = a.x_min + 1;
	for (i = 0; i < n; i++)
		if (isfinite(p[i].loss))
			sorted[k++] = p[i].loss;
	qsort(sorted, k, sizeof(*sorted), by_loss);
	a.y_max = k ? sorted[k - 1] : 1;
	if (k > 100 && sorted[k - 1] > 1.5 * sorted[k - 1 - k / 100])
		a.y_max = 1.2 * sorted[k - 1 - k / 100];
	if (k && p[0].loss > a.y_max && p[0].loss < 3 * a.y_max)
		a.y_max = p[0].loss;
	for (i = 0; i < n; i++)
		if (isfinite(p[i].held_out) && p[i].held_out > a.y_max)
			a.y_max = p[i].held_out;
	a.y_min = k && sorted[0] < 0 ? sorted[0] : 0;
	if (a.y_max <= a.y_min)
		a.y_max = a.y_min + 1;
	step = nice_step(a.y_max - a.y_min, 6);
	a.y_max = ceil(a.y_max / step) * step;
	free(sorted);
	return a;
}

static double clamp(const struct axes *a, double y)
{
	return !isfinite(y) || y > a->y_max ? a->y_max : y < a->y_min ? a->y_min : y;
}

/* Points with lines between them, where there are any; what they are stands beside the last. */
static void draw_held_out(FILE *f, const struct axes *a, const struct loss_point *p, unsigned int n)
{
	const struct loss_point *last = NULL;
	unsigned int i;

	for (i = 0; i < n; i++)
		last = isnan(p[i].held_out) ? last : &p[i];
	if (!last)
		return;
	fprintf(f, "<polyline fill='none' stroke='#c0561a' stroke-width='1.5' points='");
	for (i = 0; i < n; i++)
		if (!isnan(p[i].held_out))
			fprintf(f, "%.1f,%.1f ", sx(a, p[i].step), sy(a, clamp(a, p[i].held_out)));
	fprintf(f, "'/>\n");
	for (i = 0; i < n; i++)
		if (!isnan(p[i].held_out))
			fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3' fill='#c0561a'/>",
				sx(a, p[i].step), sy(a, clamp(a, p[i].held_out)));
	fprintf(f,
		"<text x='%d' y='56' font-size='13' text-anchor='end' fill='#c0561a'>held out: "
		"%.4f</text>\n",
		WIDTH - RIGHT, last->held_out);
}

static void draw_head(FILE *f, const char *title, const char *subtitle)
{
	fprintf(f,
		"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
		"height='%d' font-family='Helvetica,Arial,sans-serif'>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT);
	fprintf(f,
		"<style>.grid{stroke:#e6e9ee}.axis,.mark{stroke:#8a94a3}.tick{font-size:13px;"
		"fill:#5b6675}.name{font-size:14px;fill:#3b4552}</style>\n"
		"<rect width='%d' height='%d' fill='#ffffff'/>\n",
		WIDTH, HEIGHT);
	fprintf(f, "<text x='%d' y='34' font-size='20' font-weight='bold' fill='#17202b'>", LEFT);
	put_xml(f, title);
	fprintf(f, "</text>\n<text x='%d' y='56' font-size='13' fill='#5b6675'>", LEFT);
	put_xml(f, subtitle);
	fprintf(f, "</text>\n");
}

int write_loss_svg(const char *path, const struct loss_point *p, unsigned int n, const char *title,
		   const char *subtitle, const char *loss)
{
	unsigned int i, stride = n / MOST_POINTS + 1;
	struct axes a;
	double mean = 0;
	struct lr_outfile o;
	char name[80];
	FILE *f;

	f = lr_outfile_open(&o, path);
	if (!f)
		return o.error;
	a = choose_axes(p, n);
	draw_head(f, title, subtitle);
	snprintf(name, sizeof(name), "loss (%s)", loss);
	draw_axes(f, &a, "training step", name);

	fprintf(f, "<polyline fill='none' stroke='#9cc3e6' stroke-width='1' points='");
	for (i = 0; i < n; i += stride)
		fprintf(f, "%.1f,%.1f ", sx(&a, p[i].step), sy(&a, clamp(&a, p[i].loss)));
	fprintf(f, "'/>\n<polyline fill='none' stroke='#0b5cad' stroke-width='2.5' "
		   "stroke-linejoin='round' points='");
	for (i = 0; i < n; i++) {
		if (i % stride && i != n - 1)
			continue;
		mean = loss_mean(p, i + 1);
		fprintf(f, "%.1f,%.1f ", sx(&a, p[i].step), sy(&a, clamp(&a, mean)));
	}
	fprintf(f, "'/>\n<circle cx='%.1f' cy='%.1f' r='4' fill='#0b5cad'/>\n",
		n ? sx(&a, p[n - 1].step) : LEFT, sy(&a, clamp(&a, mean)));
	fprintf(f,
		"<text x='%.1f' y='%.1f' font-size='14' font-weight='bold' fill='#0b5cad'>"
		"%.4f</text>\n",
		(n ? sx(&a, p[n - 1].step) : LEFT) + 10, sy(&a, clamp(&a, mean)) + 5, mean);
	draw_held_out(f, &a, p, n);
	fprintf(f,
		"<g font-size='13' fill='#3b4552'><line x1='%d' x2='%d' y1='30' y2='30' "
		"stroke='#9cc3e6' stroke-width='2'/><text x='%d' y='34'>each step</text>"
		"<line x1='%d' x2='%d' y1='30' y2='30' stroke='#0b5cad' stroke-width='3'/>"
		"<text x='%d' y='34'>mean of the last %d</text></g>\n</svg>\n",
		WIDTH - 330, WIDTH - 306, WIDTH - 300, WIDTH - 220, WIDTH - 196, WIDTH - 190,
		LOSS_STEPS);
	return lr_outfile_close(&o);
}

int write_curves_svg(const char *path, const struct curve *curves, unsigned int num,
		     unsigned int count, const char *title, const char *subtitle, const char *x,
		     const char *y)
{
	unsigned int i, k, stride = count / MOST_POINTS + 1;
	struct axes a = { .x_min = 1, .x_max = count > 1 ? count : 2 };
	struct lr_outfile o;
	double step;
	FILE *f = lr_outfile_open(&o, path);

	if (!f)
		return o.error;
	for (k = 0; k < num; k++)
		for (i = 0; i < count; i++)
			if (isfinite(curves[k].y[i]) && curves[k].y[i] > a.y_max)
				a.y_max = curves[k].y[i];
	if (a.y_max <= 0)
		a.y_max = 1;
	step = nice_step(a.y_max, 6);
	a.y_max = ceil(a.y_max / step - 1e-6) * step;
	draw_head(f, title, subtitle);
	draw_axes(f, &a, x, y);
	for (k = 0; k < num; k++) {
		fprintf(f,
			"<polyline fill='none' stroke='%s' stroke-width='2.5' "
			"stroke-linejoin='round' points='",
			curves[k].colour);
		for (i = 0; i < count; i++)
			if (!(i % stride) || i == count - 1)
				fprintf(f, "%.1f,%.1f ", sx(&a, i + 1),
					sy(&a, clamp(&a, curves[k].y[i])));
		fprintf(f,
			"'/>\n<text x='%d' y='%d' font-size='13' text-anchor='end' fill='%s'>"
			"%s: %.4f</text>\n",
			WIDTH - RIGHT, 34 + 22 * (int)k, curves[k].colour, curves[k].name,
			count ? curves[k].y[count - 1] : 0);
	}
	fprintf(f, "</svg>\n");
	return lr_outfile_close(&o);
}
