// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/recorded.hh"

#include <algorithm>
#include <stdexcept>

namespace peers
{

Spread spread_of(std::vector<double> values)
{
    if (values.empty())
        return {};
    std::sort(values.begin(), values.end());
    size_t half = values.size() / 2;
    return {values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2, values.front(), values.back(),
            values.size()};
}

std::string text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

static Row read_row(const json_t *line)
{
    Row row = {text(line, "comparison"),
               text(line, "case"),
               text(line, "peer"),
               text(line, "subject"),
               text(line, "place"),
               static_cast<int>(json_integer_value(json_object_get(line, "round"))),
               {},
               {}};
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(line, "metrics"), name, value) row.metrics[name] = json_number_value(value);
    json_object_foreach(json_object_get(line, "series"), name, value) for (size_t i = 0; i < json_array_size(value);
                                                                           i++) row.series[name]
        .push_back(json_number_value(json_array_get(value, i)));
    return row;
}

Recorded read_lines(std::istream &raw)
{
    Recorded recorded;
    size_t number = 0;
    for (std::string line; std::getline(raw, line);) {
        json_error_t error;
        std::shared_ptr<json_t> value(json_loads(line.c_str(), 0, &error), json_decref);
        number++;
        if (!value)
            throw std::runtime_error("line " + std::to_string(number) + ": " + error.text);
        if (json_t *run = json_object_get(value.get(), "run")) {
            recorded.run = std::shared_ptr<json_t>(json_incref(run), json_decref);
            recorded.runs++;
        } else if (json_t *missing = json_object_get(value.get(), "missing")) {
            recorded.failures.push_back({text(missing, "peer"), "not installed", text(missing, "reason")});
        } else if (json_t *failed = json_object_get(value.get(), "failed")) {
            std::string one = text(failed, "case");
            recorded.failures.push_back({text(failed, "peer"),
                                         text(failed, "comparison") + (one.empty() ? "" : ", " + one),
                                         text(failed, "reason")});
        } else if (json_object_get(value.get(), "comparison")) {
            recorded.rows.push_back(read_row(value.get()));
        } else {
            throw std::runtime_error("line " + std::to_string(number) + " says nothing that is known");
        }
    }
    if (!recorded.run)
        throw std::runtime_error("no line tells of the run");
    return recorded;
}

Rows select(const Recorded &recorded, const std::string &comparison, const std::string &name, const std::string &place)
{
    Rows rows;
    for (const auto &row : recorded.rows)
        if (row.comparison == comparison && row.name == name && (place == "*" || row.place == place))
            rows.push_back(&row);
    return rows;
}

Spread metric_of(const Rows &rows, const std::string &subject, const std::string &metric)
{
    std::vector<double> values;
    for (const auto *row : rows)
        if (row->subject == subject && row->metrics.count(metric))
            values.push_back(row->metrics.at(metric));
    return spread_of(values);
}

Spread ratio_of(const Rows &rows, const std::string &peer, const std::string &subject, const std::string &metric,
                bool subject_over_peer)
{
    std::map<int, double> ours, theirs;
    for (const auto *row : rows)
        if (row->peer == peer && row->metrics.count(metric)) {
            if (row->subject == peer)
                theirs[row->round] = row->metrics.at(metric);
            else if (row->subject == subject)
                ours[row->round] = row->metrics.at(metric);
        }
    std::vector<double> ratios;
    for (const auto &[round, value] : theirs)
        if (ours.count(round) && ours[round] > 0 && value > 0)
            ratios.push_back(subject_over_peer ? ours[round] / value : value / ours[round]);
    return spread_of(ratios);
}

std::vector<std::string> in_order(const Rows &rows, const std::function<std::string(const Row &)> &key)
{
    std::vector<std::string> found;
    for (const auto *row : rows) {
        std::string value = key(*row);
        if (std::find(found.begin(), found.end(), value) == found.end())
            found.push_back(value);
    }
    return found;
}

std::vector<std::string> subjects_of(const Rows &rows)
{
    std::vector<std::string> found;
    for (const char *first : {"limit", "weir exclusive", "weir shared", "weir shared, asleep", "weir"})
        for (const auto *row : rows)
            if (row->subject == first && (found.empty() || found.back() != first))
                found.push_back(first);
    for (const auto &subject : in_order(rows, [](const Row &row) { return row.subject; }))
        if (std::find(found.begin(), found.end(), subject) == found.end())
            found.push_back(subject);
    return found;
}

bool is_ours(const std::string &subject)
{
    return subject.compare(0, 4, "weir") == 0;
}

} // namespace peers
