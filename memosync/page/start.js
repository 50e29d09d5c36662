
// A page that has its memo in it.

function turn () {
  goal = timeIn(location.hash)
  know()
}

if (element.description) linkTimes(element.description.textContent)
begin(given)
turn()
addEventListener('hashchange', turn)
setInterval(tell, 500)
frame()
