// SPDX-License-Identifier: Apache-2.0
// REPORT.md and its plots from the lines that a run has recorded.
#ifndef WEIR_BENCH_PEERS_REPORT_HH
#define WEIR_BENCH_PEERS_REPORT_HH

#include <istream>
#include <string>

namespace peers
{

// Throws on a line that is not known. The text of the report; its plots stand in `plots` beside it.
std::string make_report(std::istream &raw, const std::string &plots, const std::string &raw_name);
// Draws them with gnuplot into the folder. false: there is no gnuplot.
bool draw_plots(std::istream &raw, const std::string &folder);

} // namespace peers

#endif
