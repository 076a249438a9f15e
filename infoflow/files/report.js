(function () {
  "use strict";
  var read = function (id) { return JSON.parse(document.getElementById(id).textContent); };
  var data = read("datasets"), root = document.documentElement, prefers = matchMedia("(prefers-color-scheme: dark)");
  var named = function (spec, found) {
    (spec.layer || []).forEach(function (part) { named(part, found); });
    if (spec.data && spec.data.name && spec.data.name in data) { found[spec.data.name] = data[spec.data.name]; }
    return found;
  };
  var draw = function (theme) {
    root.dataset.theme = theme;
    return Promise.all([].map.call(document.querySelectorAll("[data-chart]"), function (place) {
      var specs = read(place.dataset.chart), spec = specs[theme] || specs.light;
      spec.datasets = named(spec, {});
      return vegaEmbed(place, spec, {
        ast: true, renderer: "canvas", mode: "vega-lite", loader: {http: {}, load: function () { return Promise.reject("offline"); }},
        actions: {export: true, source: false, compiled: false, editor: false}
      }).then(function () { place.dataset.drawn = theme; });
    }));
  };
  var ready = document.fonts ? document.fonts.load("12px infoflow").catch(function () {}) : Promise.resolve();
  ready.then(function () { draw(prefers.matches ? "dark" : "light"); });
  prefers.addEventListener("change", function (now) { draw(now.matches ? "dark" : "light"); });
  document.getElementById("theme").addEventListener("click", function () {
    draw(root.dataset.theme === "dark" ? "light" : "dark");
  });
})();
